"""A holder's cache of runs, so that the next run of as many pages needs no search.

A returned run of moderate size stays whole, marked as CACHED by the holder that returned it. That holder has a line of
*packed runs*, last returned last: the handle that the run is lent by next, with its number of pages in the low bits,
which are 0 in the handle of a page. Lending compares numbers of pages and reads no marks of further pages.

Cached slots are out of the other holders' reach, but cached runs are not, since they are large: a holder that finds no
room takes them over and frees their pages (:func:`pooling.arena.kernel.pages.claim_run`). So a cached run is lent by a
compare-and-swap, and a packed run may be void: its generation is then not its page's any more, and never will be.
"""

import numpy as np

from pooling.arena.kernel import layout
from pooling.arena.kernel.addressing import get, holder_of, mark, page_in, page_mark_of
from pooling.arena.kernel.pages import release_run, run_pages
from txqueue.jit.array_types import Bool, Int, Words
from txqueue.jit.atomics import cas, store_relaxed
from txqueue.jit.decorators import inner


@inner
def lend_cached(words: Words, holder: Int, pages: Int) -> Int:
    """Lends a run of exactly so many pages, of several the one returned last.

    Returns:
        Its handle; or 0 where none is cached.
    """
    tally_at = holder_of(holder) + layout.RUN_TALLY
    position = get(words, tally_at) & layout.TALLY_MASK
    while position > 0:
        packed = get(words, tally_at + position)
        if packed & layout.RUN_PAGES_MASK == pages:
            _remove(words, tally_at, position)
            if _take(words, holder, packed, np.int64(layout.LENT)):
                return packed & ~layout.RUN_PAGES_MASK
        position -= 1
    return np.int64(0)


@inner
def pages_lent(words: Words, holder: Int, handle: Int) -> Int:
    """Pages of a lent run.

    The packed run that was lent last still stands behind those that are cached. Where it has this handle, its number of
    pages is right: as long as a handle is good, its run stays whole.
    """
    tally_at = holder_of(holder) + layout.RUN_TALLY
    position = (get(words, tally_at) & layout.TALLY_MASK) + 1
    if position <= layout.RUNS_CACHED_MAX:
        packed = get(words, tally_at + position)
        if packed & ~layout.RUN_PAGES_MASK == handle:
            return packed & layout.RUN_PAGES_MASK
    return run_pages(words, page_in(handle))


@inner
def cache_run(words: Words, holder: Int, handle: Int, pages: Int) -> None:
    """Caches a run that the caller marked as CACHED; where the cache is full, the run returned longest ago is freed."""
    tally_at = holder_of(holder) + layout.RUN_TALLY
    if get(words, tally_at) & layout.TALLY_MASK == layout.RUNS_CACHED_MAX:
        release_oldest(words, holder)
    tally = get(words, tally_at)
    store_relaxed(words, tally_at + 1 + (tally & layout.TALLY_MASK), handle | pages)
    store_relaxed(words, tally_at, tally + 1)


@inner
def release_oldest(words: Words, holder: Int) -> Bool:
    """Frees the cached run that was returned longest ago; returns False where another holder had taken it."""
    tally_at = holder_of(holder) + layout.RUN_TALLY
    oldest = get(words, tally_at + 1)
    _remove(words, tally_at, np.int64(1))
    if not _take(words, holder, oldest, np.int64(layout.CLAIMED)):
        return False
    release_run(words, page_in(oldest))
    return True


@inner
def _remove(words: Words, tally_at: Int, position: Int) -> None:
    tally = get(words, tally_at)
    for later in range(position, tally & layout.TALLY_MASK):
        store_relaxed(words, tally_at + later, get(words, tally_at + later + 1))
    store_relaxed(words, tally_at, tally - 1)


@inner
def _take(words: Words, holder: Int, packed: Int, state: Int) -> Bool:
    """Moves a packed run from CACHED to another state; returns False where another holder had taken it."""
    at = page_mark_of(words, page_in(packed))
    return bool(cas(words, at, mark(packed, holder, layout.CACHED), mark(packed, holder, state)))
