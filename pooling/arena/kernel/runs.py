"""Runs of pages that a holder keeps at hand, so that the next run of as many pages needs no search.

A returned run of moderate size stays whole, marked as CACHED by whoever returned it. That holder has a line of entries,
most recently returned last; an entry is the handle that the run is lent by next, with its number of pages in the low
bits, which a page's handle leaves empty. Lending compares numbers of pages and walks no marks.

Slots at hand are out of the others' reach, but a run at hand is not: it is too large to be kept from somebody who finds
no room, who takes it over and takes it apart (:func:`pooling.arena.kernel.pages.claim_run`). So it is lent by a
compare-and-swap, and an entry may be void: the generation in it is then not its page's any more, and never will be.
"""

import numpy as np

from pooling.arena.kernel import layout
from pooling.arena.kernel.addressing import Bool, Int, Words, get, holder_of, mark, page_in, page_mark_of
from pooling.arena.kernel.pages import release_run, run_pages
from txqueue.jit.atomics import cas, store_relaxed
from txqueue.jit.decorators import inner


@inner
def lend_kept(words: Words, holder: Int, pages: Int) -> Int:
    """Lends a run of exactly so many pages, of several the one returned last.

    Returns:
        Its handle; or 0 where none is at hand.
    """
    tally_at = holder_of(holder) + layout.RUN_TALLY
    place = get(words, tally_at) & layout.TALLY_MASK
    while place > 0:
        entry = get(words, tally_at + place)
        if entry & layout.RUN_PAGES_MASK == pages:
            _remove(words, tally_at, place)
            if _take(words, holder, entry, np.int64(layout.HELD)):
                return entry & ~layout.RUN_PAGES_MASK
        place -= 1
    return np.int64(0)


@inner
def pages_lent(words: Words, holder: Int, handle: Int) -> Int:
    """Pages of a lent run.

    The entry of the run that was lent last still stands behind those of the runs at hand. Whenever it is this handle's,
    it is right: as long as a handle is good its run stays whole.
    """
    tally_at = holder_of(holder) + layout.RUN_TALLY
    place = (get(words, tally_at) & layout.TALLY_MASK) + 1
    if place <= layout.RUNS_KEPT_MAX:
        entry = get(words, tally_at + place)
        if entry & ~layout.RUN_PAGES_MASK == handle:
            return entry & layout.RUN_PAGES_MASK
    return run_pages(words, page_in(handle))


@inner
def keep(words: Words, holder: Int, handle: Int, pages: Int) -> None:
    """Puts a run that the caller marked as CACHED to those at hand, of which the oldest makes way where need be."""
    tally_at = holder_of(holder) + layout.RUN_TALLY
    if get(words, tally_at) & layout.TALLY_MASK == layout.RUNS_KEPT_MAX:
        release_oldest(words, holder)
    tally = get(words, tally_at)
    store_relaxed(words, tally_at + 1 + (tally & layout.TALLY_MASK), handle | pages)
    store_relaxed(words, tally_at, tally + 1)


@inner
def release_oldest(words: Words, holder: Int) -> Bool:
    """Frees the run at hand that was returned longest ago; whether it was still there."""
    tally_at = holder_of(holder) + layout.RUN_TALLY
    oldest = get(words, tally_at + 1)
    _remove(words, tally_at, np.int64(1))
    if not _take(words, holder, oldest, np.int64(layout.CLAIMED)):
        return False
    release_run(words, page_in(oldest))
    return True


@inner
def _remove(words: Words, tally_at: Int, place: Int) -> None:
    tally = get(words, tally_at)
    for later in range(place, tally & layout.TALLY_MASK):
        store_relaxed(words, tally_at + later, get(words, tally_at + later + 1))
    store_relaxed(words, tally_at, tally - 1)


@inner
def _take(words: Words, holder: Int, entry: Int, state: Int) -> Bool:
    """Moves an entry's run from CACHED to another state, unless somebody else took it."""
    at = page_mark_of(words, page_in(entry))
    return bool(cas(words, at, mark(entry, holder, layout.CACHED), mark(entry, holder, state)))
