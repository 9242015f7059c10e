"""What lending and returning come to where a holder's magazine does not do: rare, and kept out of its callers' code."""

import numpy as np

from pooling.arena.kernel import layout
from pooling.arena.kernel.addressing import (
    Bool,
    Int,
    Words,
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
from pooling.arena.kernel.magazines import count, pop, push
from pooling.arena.kernel.pages import NONE, claim_run, release_run, run_pages
from pooling.arena.kernel.red_zones import ZONE_BYTES, guard, is_poisoned, is_whole, poison, returned_by
from pooling.arena.kernel.runs import keep, lend_kept, pages_lent
from txqueue.jit.atomics import cas, load_acquire, store_relaxed, store_release
from txqueue.jit.decorators import inner

FULL = -1
"""No room is left for a slot of that size."""
FOREIGN = -2
"""The handle names no slot of this arena."""
RETURNED = -3
"""The slot was returned before, or recovered from its dead holder."""
DAMAGED = -4
"""Returned, but its red zone is broken: somebody wrote beyond its end, or before the start of the next. Debug mode."""
WRITTEN = -5
"""Not lent: a slot was written to after it had been returned. Debug mode."""


@inner
def allocate_slowly(words: Words, holder: Int, byte_count: Int) -> Int:
    """Lends a slot by any way."""
    debug = get(words, layout.DEBUG) != 0
    total = byte_count + ZONE_BYTES if debug else byte_count
    size_class = class_of(total)
    if size_class != layout.LARGE:
        handle, poisoned = pop(words, holder, size_class), True
    else:
        pages = (total + layout.PAGE_BYTES - 1) >> layout.PAGE_SHIFT
        handle = lend_kept(words, holder, pages) if pages <= layout.RUN_PAGES_KEPT_MAX else np.int64(0)
        poisoned = handle != 0
        if handle == 0:
            handle = _lend_new_run(words, holder, pages)
        if handle != 0:
            tally_at = holder_of(holder) + layout.RUN_TALLY
            store_relaxed(words, tally_at, get(words, tally_at) + (1 << layout.TALLY_SHIFT))
    if handle == 0:
        count(words, holder, layout.REFUSED)
        return np.int64(FULL)
    return _lend_guarded(words, holder, handle, byte_count, poisoned) if debug else handle


@inner
def _lend_new_run(words: Words, holder: Int, pages: Int) -> Int:
    page = claim_run(words, holder, pages, np.int64(1))
    if page == NONE:
        return np.int64(0)
    at = page_mark_of(words, page)
    stamp = next_stamp(get(words, at))
    store_release(words, at, mark(stamp, holder, layout.HELD))
    return stamp | page << layout.PAGE_GRANULES_SHIFT


@inner
def _lend_guarded(words: Words, holder: Int, handle: Int, byte_count: Int, poisoned: Bool) -> Int:
    """Checks the poison of a slot about to be lent, unless it is a run of fresh pages, and lays its red zone."""
    granule = handle & layout.LOW_MASK
    capacity = capacity_of(words, handle)
    if poisoned and not is_poisoned(words, granule, capacity):
        note_fault(words, holder, handle, returned_by(words, granule, capacity))
        poison(words, granule, capacity, np.int64(0))
        _put_back(words, holder, next_stamp(handle) | granule)
        return np.int64(WRITTEN)
    guard(words, granule, capacity, byte_count)
    return handle


@inner
def _put_back(words: Words, holder: Int, handle: Int) -> None:
    """Puts what is the caller's alone, under the handle it is lent by next, to what is at hand."""
    large = class_in(handle) == layout.LARGE
    pages = run_pages(words, page_in(handle)) if large else np.int64(0)
    store_release(words, mark_of(words, handle), mark(handle, holder, layout.CACHED))
    if large:
        keep(words, holder, handle, pages)
    else:
        push(words, holder, handle)


@inner
def free_slowly(words: Words, holder: Int, handle: Int) -> Int:
    """Takes a slot back by any way."""
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
    kept = pages <= layout.RUN_PAGES_KEPT_MAX
    next_handle = next_stamp(handle) | handle & layout.LOW_MASK
    at_hand = mark(next_handle, holder, layout.CACHED)
    at_once = kept and not debug
    if at_once and get(words, at) == mark(handle, holder, layout.HELD):
        store_release(words, at, at_hand)  # as with slots: nobody else may have the handle
    elif not take_over(words, holder, handle, at_hand if at_once else mark(handle, holder, layout.CLAIMED)):
        return np.int64(RETURNED)
    outcome: Int = np.int64(0)
    if debug:
        outcome = _poison_returned(words, holder, handle, pages << layout.PAGE_SHIFT)
    if not kept:
        release_run(words, page)
        return outcome
    if debug:
        store_release(words, at, at_hand)  # not earlier: from here on others may take it apart
    keep(words, holder, next_handle, pages)
    return outcome


@inner
def _poison_returned(words: Words, holder: Int, handle: Int, capacity: Int) -> Int:
    """Checks a returned slot's red zone, and poisons it."""
    granule = handle & layout.LOW_MASK
    owner = get(words, holder_of(holder) + layout.OWNER)
    whole = is_whole(words, granule, capacity)
    if not whole:
        note_fault(words, holder, handle, owner)
    poison(words, granule, capacity, owner)
    return np.int64(0) if whole else np.int64(DAMAGED)


@inner
def take_over(words: Words, holder: Int, handle: Int, taken: Int) -> Bool:
    """Replaces the mark of the lent slot that the handle names, whoever it was lent to."""
    at = mark_of(words, handle)
    while True:
        seen = np.int64(load_acquire(words, at))
        if (seen ^ handle) & layout.STAMP_MASK != 0 or state_in(seen) != layout.HELD:
            return False
        if cas(words, at, seen, taken):
            if seen != mark(handle, holder, layout.HELD):
                count(words, holder, layout.ADOPTED)
            return True


@inner
def capacity_of(words: Words, handle: Int) -> Int:
    """Bytes of a lent slot, at least as many as were asked for."""
    if class_in(handle) != layout.LARGE:
        return np.int64(layout.GRANULE_BYTES) << (class_in(handle) - 1)
    return run_pages(words, page_in(handle)) << layout.PAGE_SHIFT


@inner
def note_fault(words: Words, holder: Int, handle: Int, owner: Int) -> None:
    """Leaves word of a damaged slot for the holder's next look."""
    store_relaxed(words, holder_of(holder) + layout.FAULT, handle)
    store_relaxed(words, holder_of(holder) + layout.FAULT_OWNER, owner)
