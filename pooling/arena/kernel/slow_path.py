"""The slow path of lending and returning, for runs, debug mode, and magazines that are empty or full."""

import numpy as np

from pooling.arena.kernel import layout
from pooling.arena.kernel.addressing import (
    class_in,
    class_of,
    get,
    holder_of,
    mark,
    mark_of,
    next_stamp,
    page_in,
    page_mark_of,
    state_in,
)
from pooling.arena.kernel.magazines import increment, pop, push
from pooling.arena.kernel.pages import NONE, claim_run, release_run, run_pages
from pooling.arena.kernel.red_zones import RED_ZONE_BYTES, is_intact, is_poisoned, lay_red_zone, poison, returned_by
from pooling.arena.kernel.runs import cache_run, lend_cached, pages_lent
from txqueue.jit.array_types import Bool, Int, Words
from txqueue.jit.atomics import cas, load_acquire, store_relaxed, store_release
from txqueue.jit.decorators import inner

FULL = -1
"""No room is left for a slot of that size."""
FOREIGN = -2
"""The handle names no slot of this arena."""
RETURNED = -3
"""The slot was returned before, or recovered from its dead holder."""
DAMAGED = -4
"""Returned, but its red zone was written to: beyond its end, or before the start of the next slot. Debug mode."""
WRITTEN = -5
"""Not lent, because the slot was written to after its return. Debug mode."""


@inner
def allocate_slowly(words: Words, holder: Int, byte_count: Int) -> Int:
    """Lends a slot of any size, in debug mode or not."""
    debug = get(words, layout.DEBUG) != 0
    total = byte_count + RED_ZONE_BYTES if debug else byte_count
    size_class = class_of(total)
    if size_class != layout.LARGE:
        handle, poisoned = pop(words, holder, size_class), True
    else:
        pages = (total + layout.PAGE_BYTES - 1) >> layout.PAGE_SHIFT
        handle = lend_cached(words, holder, pages) if pages <= layout.RUN_PAGES_CACHED_MAX else np.int64(0)
        poisoned = handle != 0
        if handle == 0:
            handle = _lend_new_run(words, holder, pages)
        if handle != 0:
            tally_at = holder_of(holder) + layout.RUN_TALLY
            store_relaxed(words, tally_at, get(words, tally_at) + (1 << layout.TALLY_SHIFT))
    if handle == 0:
        increment(words, holder, layout.REFUSED)
        return np.int64(FULL)
    return _lend_checked(words, holder, handle, byte_count, poisoned) if debug else handle


@inner
def _lend_new_run(words: Words, holder: Int, pages: Int) -> Int:
    page = claim_run(words, holder, pages, np.int64(1))
    if page == NONE:
        return np.int64(0)
    at = page_mark_of(words, page)
    stamp = next_stamp(get(words, at))
    store_release(words, at, mark(stamp, holder, layout.LENT))
    return stamp | page << layout.PAGE_GRANULES_SHIFT


@inner
def _lend_checked(words: Words, holder: Int, handle: Int, byte_count: Int, poisoned: Bool) -> Int:
    """Checks the poison of a slot about to be lent, where it was returned before, and lays its red zone."""
    granule = handle & layout.LOW_MASK
    capacity = capacity_of(words, handle)
    if poisoned and not is_poisoned(words, granule, capacity):
        record_fault(words, holder, handle, returned_by(words, granule, capacity))
        poison(words, granule, capacity, np.int64(0))
        _put_back(words, holder, next_stamp(handle) | granule)
        return np.int64(WRITTEN)
    lay_red_zone(words, granule, capacity, byte_count)
    return handle


@inner
def _put_back(words: Words, holder: Int, handle: Int) -> None:
    """Caches a slot or run that is the caller's alone; ``handle`` is what it is lent by next."""
    large = class_in(handle) == layout.LARGE
    pages = run_pages(words, page_in(handle)) if large else np.int64(0)
    store_release(words, mark_of(words, handle), mark(handle, holder, layout.CACHED))
    if large:
        cache_run(words, holder, handle, pages)
    else:
        push(words, holder, handle)


@inner
def free_slowly(words: Words, holder: Int, handle: Int) -> Int:
    """Takes back a slot of any size, in debug mode or not."""
    if class_in(handle) == layout.LARGE:
        return _free_run(words, holder, handle)
    next_handle = next_stamp(handle) | handle & layout.LOW_MASK
    if not take_over(words, holder, handle, mark(next_handle, holder, layout.CACHED)):
        return np.int64(RETURNED)
    outcome: Int = np.int64(0)
    if get(words, layout.DEBUG) != 0:
        outcome = _poison_returned(words, holder, handle, capacity_of(words, handle))
    push(words, holder, next_handle)
    return outcome


@inner
def _free_run(words: Words, holder: Int, handle: Int) -> Int:
    debug = get(words, layout.DEBUG) != 0
    page = page_in(handle)
    at = page_mark_of(words, page)
    pages = pages_lent(words, holder, handle)
    cached = pages <= layout.RUN_PAGES_CACHED_MAX
    next_handle = next_stamp(handle) | handle & layout.LOW_MASK
    cached_mark = mark(next_handle, holder, layout.CACHED)
    at_once = cached and not debug
    if at_once and get(words, at) == mark(handle, holder, layout.LENT):
        store_release(words, at, cached_mark)  # no swap is needed: nobody else may use the handle
    elif not take_over(words, holder, handle, cached_mark if at_once else mark(handle, holder, layout.CLAIMED)):
        return np.int64(RETURNED)
    outcome: Int = np.int64(0)
    if debug:
        outcome = _poison_returned(words, holder, handle, pages << layout.PAGE_SHIFT)
    if not cached:
        release_run(words, page)
        return outcome
    if debug:
        store_release(words, at, cached_mark)  # not earlier: from here on others may free it
    cache_run(words, holder, next_handle, pages)
    return outcome


@inner
def _poison_returned(words: Words, holder: Int, handle: Int, capacity: Int) -> Int:
    """Checks a returned slot's red zone, and poisons it."""
    granule = handle & layout.LOW_MASK
    owner = get(words, holder_of(holder) + layout.OWNER)
    intact = is_intact(words, granule, capacity)
    if not intact:
        record_fault(words, holder, handle, owner)
    poison(words, granule, capacity, owner)
    return np.int64(0) if intact else np.int64(DAMAGED)


@inner
def take_over(words: Words, holder: Int, handle: Int, taken: Int) -> Bool:
    """Replaces the mark of the lent slot that the handle names, whichever holder it was lent to; False: it is void."""
    at = mark_of(words, handle)
    while True:
        seen = np.int64(load_acquire(words, at))
        if (seen ^ handle) & layout.STAMP_MASK != 0 or state_in(seen) != layout.LENT:
            return False
        if cas(words, at, seen, taken):
            if seen != mark(handle, holder, layout.LENT):
                increment(words, holder, layout.ADOPTED)
            return True


@inner
def capacity_of(words: Words, handle: Int) -> Int:
    """Bytes of a lent slot, at least as many as were asked for."""
    if class_in(handle) != layout.LARGE:
        return np.int64(layout.GRANULE_BYTES) << (class_in(handle) - 1)
    return run_pages(words, page_in(handle)) << layout.PAGE_SHIFT


@inner
def record_fault(words: Words, holder: Int, handle: Int, owner: Int) -> None:
    """Records a damaged slot and its returner, for the error that the holder raises."""
    store_relaxed(words, holder_of(holder) + layout.FAULT, handle)
    store_relaxed(words, holder_of(holder) + layout.FAULT_OWNER, owner)
