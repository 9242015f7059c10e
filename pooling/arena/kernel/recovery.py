"""Recovery of what dead holders held, ownership of holders, and operations on the whole arena, statistics included.

The marks are the truth, so recovery is a walk over them: every slot and run whose mark names the holder is freed. If
the recovering process dies, the holder belongs to a dead process again, and the next recovery frees what is left.
"""

import numpy as np

from pooling.arena.kernel import layout
from pooling.arena.kernel.addressing import (
    class_in,
    free_bits_of,
    get,
    holder_in,
    holder_of,
    magazine_of,
    mark,
    page_mark_of,
    slots_of,
    state_in,
)
from pooling.arena.kernel.magazines import flush, reset
from pooling.arena.kernel.pages import NONE, claim_at, release_run, run_pages
from pooling.arena.kernel.runs import release_oldest
from pooling.arena.kernel.slabs import free_slots_of, retire_slab
from txqueue.jit.array_types import Int, Words
from txqueue.jit.atomics import cas, load_acquire, load_relaxed, store_relaxed, store_release
from txqueue.jit.cpu import bit_count
from txqueue.jit.decorators import WORDS, entry, inner, operation

SWEEP_PAGES = 256
"""Free pages that are claimed at a time while they are given back to the system."""

# Indices of what count_totals() counts: slots lent by size class, allocations ever by size class, then single counts.
ALLOCATIONS = layout.LARGE + 1
(REFILLS, FLUSHES, REFUSED, ADOPTED, HOLDERS, SLAB_PAGES, RUN_PAGES, CACHED_BYTES, TOTALS) = range(
    2 * (layout.LARGE + 1), 2 * (layout.LARGE + 1) + 9
)


@operation(3)
def take_holder(words: Words, holder: Int, expected: Int, owner: Int) -> Int:
    """Makes ``owner`` the owner of a holder whose owner is ``expected``; returns whether it was."""
    return np.int64(cas(words, holder_of(holder) + layout.OWNER, expected, owner))


@operation(1)
def release_holder(words: Words, holder: Int) -> Int:
    """Frees all slots and runs of a holder, then gives up the holder, which is the caller's and not in use.

    Returns:
        Slots and runs that were freed.
    """
    freed = np.int64(0)
    for page in range(get(words, layout.PAGES_USED)):
        at = page_mark_of(words, page)
        seen = np.int64(load_acquire(words, at))
        state = state_in(seen)
        if state == layout.SLAB:
            freed += free_slots_of(words, page, holder)
            continue
        # A holder that takes it over from the dead one at this moment may have it.
        run = state == layout.CACHED or state == layout.LENT or state == layout.CLAIMED
        theirs = run and holder_in(seen) == holder
        if theirs and cas(words, at, seen, mark(seen, holder, layout.CLAIMED)):
            release_run(words, page)
            freed += 1
    for size_class in range(1, layout.LARGE):
        reset(words, holder, size_class)
    runs = holder_of(holder) + layout.RUN_TALLY
    store_relaxed(words, runs, get(words, runs) & ~layout.TALLY_MASK)
    store_release(words, holder_of(holder) + layout.OWNER, 0)
    return freed


@operation(1)
def flush_caches(words: Words, holder: Int) -> Int:
    """Returns the slots and runs that the caller's holder has cached to slabs and free pages; returns how many."""
    slots = np.int64(0)
    for size_class in range(1, layout.LARGE):
        slots += flush(words, holder, size_class)
    while get(words, holder_of(holder) + layout.RUN_TALLY) & layout.TALLY_MASK > 0:
        slots += np.int64(release_oldest(words, holder))
    return slots


@operation(1)
def retire_slabs(words: Words, holder: Int) -> Int:
    """Turns all slabs whose slots are all free into free pages; returns how many."""
    retired = np.int64(0)
    for page in range(0, get(words, layout.PAGES_USED), layout.CHUNK_PAGES):
        if state_in(get(words, page_mark_of(words, page))) == layout.SLAB and retire_slab(words, page, holder):
            retired += 1
    return retired


@operation(2)
def claim_free_pages(words: Words, holder: Int, start: Int) -> Int:
    """Claims the first free pages from ``start`` on, SWEEP_PAGES of them at most, so that nobody uses them.

    Returns:
        The first page times (SWEEP_PAGES * 2), plus the number of pages: for :func:`release_claimed_pages`; or NONE.
    """
    first = start
    used = get(words, layout.PAGES_USED)
    while first < used:
        pages = np.int64(0)
        while (
            first + pages < used
            and pages < SWEEP_PAGES
            and state_in(get(words, page_mark_of(words, first + pages))) == layout.FREE
        ):
            pages += 1
        if pages > 0 and claim_at(words, holder, first, pages) == NONE:
            return first * (SWEEP_PAGES * 2) + pages
        first += max(pages, np.int64(1))
    return np.int64(NONE)


@operation(1)
def release_claimed_pages(words: Words, first: Int) -> Int:
    """Frees what :func:`claim_free_pages` claimed."""
    release_run(words, first)
    return first


@entry(WORDS, WORDS)
def count_totals(words: Words, totals: Words) -> None:
    """Counts into ``totals``, uint64[TOTALS]. Any process may call it; while others allocate it is an estimate."""
    for index in range(TOTALS):
        totals[index] = 0
    for page in range(get(words, layout.PAGES_USED)):
        seen = np.int64(load_acquire(words, page_mark_of(words, page)))
        state = state_in(seen)
        if state == layout.SLAB:
            totals[SLAB_PAGES] += np.uint64(layout.CHUNK_PAGES)
            totals[class_in(seen)] += np.uint64(_lent_or_cached(words, page, class_in(seen)))
        elif state == layout.LENT or state == layout.CACHED:
            pages = run_pages(words, page)
            totals[RUN_PAGES] += np.uint64(pages)
            totals[layout.LARGE] += np.uint64(state == layout.LENT)
            totals[CACHED_BYTES] += np.uint64((pages << layout.PAGE_SHIFT) * (state == layout.CACHED))
    for holder in range(get(words, layout.HOLDERS)):
        at = holder_of(holder)
        if get(words, at + layout.OWNER) != 0:
            totals[HOLDERS] += np.uint64(1)
        totals[REFILLS] += load_relaxed(words, at + layout.REFILLS)
        totals[FLUSHES] += load_relaxed(words, at + layout.FLUSHES)
        totals[REFUSED] += load_relaxed(words, at + layout.REFUSED)
        totals[ADOPTED] += load_relaxed(words, at + layout.ADOPTED)
        totals[ALLOCATIONS + layout.LARGE] += np.uint64(get(words, at + layout.RUN_TALLY) >> layout.TALLY_SHIFT)
        for size_class in range(1, layout.LARGE):
            tally = get(words, magazine_of(holder, size_class))
            cached = tally & layout.TALLY_MASK
            totals[ALLOCATIONS + size_class] += np.uint64(tally >> layout.TALLY_SHIFT)
            totals[CACHED_BYTES] += np.uint64(cached * (layout.GRANULE_BYTES << (size_class - 1)))
            totals[size_class] = max(np.int64(totals[size_class]) - cached, np.int64(0))


@inner
def _lent_or_cached(words: Words, page: Int, size_class: Int) -> Int:
    slots = slots_of(size_class)
    for slot in range(0, slots_of(size_class), 64):
        slots -= np.int64(bit_count(get(words, free_bits_of(words, page // layout.CHUNK_PAGES, slot))))
    return slots


OPERATIONS = (
    take_holder,
    release_holder,
    flush_caches,
    retire_slabs,
    claim_free_pages,
    release_claimed_pages,
    count_totals,
)
"""What Python calls, too."""
