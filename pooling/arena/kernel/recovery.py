"""Who holds a holder, taking back what the dead held, and counting.

The marks are the truth, so recovery is a walk over them: every slot and run that names the holder is freed. A recovery
that dies is itself recovered from: the holder is then its process's, which is dead, and what it freed is freed already.
"""

import numpy as np

from pooling.arena.kernel import layout
from pooling.arena.kernel.addressing import (
    Int,
    Words,
    bit_count,
    bits_of,
    class_in,
    get,
    holder_in,
    holder_of,
    magazine_of,
    mark,
    page_mark_of,
    slots_of,
    state_in,
)
from pooling.arena.kernel.magazines import empty, forget
from pooling.arena.kernel.pages import NONE, claim_at, release_run, run_pages
from pooling.arena.kernel.runs import release_oldest
from pooling.arena.kernel.slabs import retire, return_slots
from txqueue.jit.atomics import cas, load_acquire, load_relaxed, store_relaxed, store_release
from txqueue.jit.decorators import WORDS, entry, inner, operation

SWEEP_PAGES = 256
"""Free pages that are out of the others' reach at a time while they are given to the system."""

# What total() counts: for each size class the slots lent, then, from here on, the allocations ever, then one each.
ALLOCATIONS = layout.LARGE + 1
(REFILLS, FLUSHES, REFUSED, ADOPTED, HOLDERS, SLAB_PAGES, RUN_PAGES, CACHED_BYTES, TOTALS) = range(
    2 * (layout.LARGE + 1), 2 * (layout.LARGE + 1) + 9
)


@operation(3)
def take_holder(words: Words, holder: Int, expected: Int, owner: Int) -> Int:
    """Makes ``owner`` the owner of a holder, if it is ``expected``'s; returns whether it was."""
    return np.int64(cas(words, holder_of(holder) + layout.OWNER, expected, owner))


@operation(1)
def release_holder(words: Words, holder: Int) -> Int:
    """Frees whatever is marked as the holder's, then makes it nobody's. Its owner is the caller, and it is not in use.

    Returns:
        Slots and runs that were freed.
    """
    freed = np.int64(0)
    for page in range(get(words, layout.PAGES_USED)):
        at = page_mark_of(words, page)
        seen = np.int64(load_acquire(words, at))
        state = state_in(seen)
        if state == layout.SLAB:
            freed += return_slots(words, page, holder)
            continue
        # Whoever takes it over from the dead at this moment may have it.
        run = state == layout.CACHED or state == layout.HELD or state == layout.CLAIMED
        theirs = run and holder_in(seen) == holder
        if theirs and cas(words, at, seen, mark(seen, holder, layout.CLAIMED)):
            release_run(words, page)
            freed += 1
    for size_class in range(1, layout.LARGE):
        forget(words, holder, size_class)
    runs = holder_of(holder) + layout.RUN_TALLY
    store_relaxed(words, runs, get(words, runs) & ~layout.TALLY_MASK)
    store_release(words, holder_of(holder) + layout.OWNER, 0)
    return freed


@operation(1)
def empty_magazines(words: Words, holder: Int) -> Int:
    """Gives all slots and runs that the caller's holder keeps at hand back to everybody; returns their number."""
    slots = np.int64(0)
    for size_class in range(1, layout.LARGE):
        slots += empty(words, holder, size_class)
    while get(words, holder_of(holder) + layout.RUN_TALLY) & layout.TALLY_MASK > 0:
        slots += np.int64(release_oldest(words, holder))
    return slots


@operation(1)
def retire_slabs(words: Words, holder: Int) -> Int:
    """Makes free pages of all slabs without a slot in use or at hand; returns their number."""
    retired = np.int64(0)
    for page in range(0, get(words, layout.PAGES_USED), layout.UNIT_PAGES):
        if state_in(get(words, page_mark_of(words, page))) == layout.SLAB and retire(words, page, holder):
            retired += 1
    return retired


@operation(2)
def claim_free(words: Words, holder: Int, start: Int) -> Int:
    """Claims the first free pages from ``start`` on, at most SWEEP_PAGES of them, so that nobody touches them.

    Returns:
        The first page times (SWEEP_PAGES * 2), plus the number of pages: for :func:`release_claimed`; or NONE.
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
def release_claimed(words: Words, first: Int) -> Int:
    """Frees what :func:`claim_free` claimed."""
    release_run(words, first)
    return first


@entry(WORDS, WORDS)
def total(words: Words, totals: Words) -> None:
    """Counts into ``totals``, uint64[TOTALS]. Any process may call it; while slots come and go it is an estimate."""
    for index in range(TOTALS):
        totals[index] = 0
    for page in range(get(words, layout.PAGES_USED)):
        seen = np.int64(load_acquire(words, page_mark_of(words, page)))
        state = state_in(seen)
        if state == layout.SLAB:
            totals[SLAB_PAGES] += np.uint64(layout.UNIT_PAGES)
            totals[class_in(seen)] += np.uint64(_lent_or_cached(words, page, class_in(seen)))
        elif state == layout.HELD or state == layout.CACHED:
            pages = run_pages(words, page)
            totals[RUN_PAGES] += np.uint64(pages)
            totals[layout.LARGE] += np.uint64(state == layout.HELD)
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
            kept = tally & layout.TALLY_MASK
            totals[ALLOCATIONS + size_class] += np.uint64(tally >> layout.TALLY_SHIFT)
            totals[CACHED_BYTES] += np.uint64(kept * (layout.GRANULE_BYTES << (size_class - 1)))
            totals[size_class] = max(np.int64(totals[size_class]) - kept, np.int64(0))


@inner
def _lent_or_cached(words: Words, page: Int, size_class: Int) -> Int:
    slots = slots_of(size_class)
    for slot in range(0, slots_of(size_class), 64):
        slots -= np.int64(bit_count(get(words, bits_of(words, page // layout.UNIT_PAGES, slot))))
    return slots


OPERATIONS = (take_holder, release_holder, empty_magazines, retire_slabs, claim_free, release_claimed, total)
"""What Python calls, too."""
