"""The page allocator: runs of whole pages, claimed and released without a lock.

The mark of a run's first page says whose the run is; its other pages are TAILs that name the first one. Pages are
claimed from the first one upwards and released from the last one downwards, so at every moment a first page and the
TAILs that directly follow it are the whole run. Whoever finds a dead holder's first page can therefore release the run,
wherever its holder died.

Two holders that claim overlapping runs do not block each other: the one that meets the other's page gives its own pages
back and continues behind that page. It meets only pages above its own, so the one that is furthest up goes on.
"""

import numpy as np

from pooling.arena.kernel import layout
from pooling.arena.kernel.addressing import get, mark, next_stamp, page_mark_of, state_in
from txqueue.jit.array_types import Int, Words
from txqueue.jit.atomics import cas, load_acquire, store_release
from txqueue.jit.decorators import inner

NONE = -1
"""No page."""


@inner
def claim_run(words: Words, holder: Int, pages: Int, alignment: Int) -> Int:
    """Finds ``pages`` free pages in a row, the first at a multiple of ``alignment``, and makes them the holder's.

    Returns:
        The first page, whose mark is now CLAIMED; or NONE, even after the cached runs of all holders were freed.
    """
    page = _find_room(words, holder, pages, alignment)
    if page == NONE and _free_cached_runs(words, holder) > 0:
        page = _find_room(words, holder, pages, alignment)
    return page


@inner
def _find_room(words: Words, holder: Int, pages: Int, alignment: Int) -> Int:
    hint_at = layout.SLAB_HINT if alignment > 1 else layout.RUN_HINT
    hint = get(words, hint_at)
    start = (hint + alignment - 1) & -alignment
    for begin in (start, np.int64(0)):
        page = begin
        while page + pages <= get(words, layout.PAGES):
            blocked = claim_at(words, holder, page, pages)
            if blocked == NONE:
                # A failed swap means that another holder lowered the hint to pages it freed. To raise it then would
                # pass those over, again and again, and runs that come and go would wander through all of the heap.
                cas(words, hint_at, hint, page + pages)
                return page
            page = (blocked + alignment) & -alignment
    return np.int64(NONE)


@inner
def claim_at(words: Words, holder: Int, first: Int, pages: Int) -> Int:
    """Claims exactly these pages and returns NONE; or claims none, and returns one that is not free."""
    for page in range(first, first + pages):  # a look before any claim: most pages that are not free stay so
        if state_in(get(words, page_mark_of(words, page))) != layout.FREE:
            return page
    _raise_used(words, first + pages)
    for page in range(first, first + pages):
        at = page_mark_of(words, page)
        seen = np.int64(load_acquire(words, at))
        generation = seen & layout.GENERATION_MASK
        if page == first:
            claimed = mark(generation | layout.LARGE << layout.CLASS_SHIFT, holder, layout.CLAIMED)
        else:
            claimed = mark(generation, first, layout.TAIL)
        if state_in(seen) != layout.FREE or not cas(words, at, seen, claimed):
            if page > first:
                release_run(words, first)
            return page
    return np.int64(NONE)


@inner
def _free_cached_runs(words: Words, holder: Int) -> Int:
    """Frees the cached runs of all holders, whose packed runs become void; returns how many."""
    freed = np.int64(0)
    for page in range(get(words, layout.PAGES_USED)):
        at = page_mark_of(words, page)
        seen = np.int64(load_acquire(words, at))
        if state_in(seen) == layout.CACHED and cas(words, at, seen, mark(seen, holder, layout.CLAIMED)):
            release_run(words, page)
            freed += 1
    return freed


@inner
def _raise_used(words: Words, pages: Int) -> None:
    while True:
        used = np.int64(load_acquire(words, layout.PAGES_USED))
        if used >= pages or cas(words, layout.PAGES_USED, used, pages):
            return


@inner
def run_pages(words: Words, first: Int) -> Int:
    """Pages of the run that begins here."""
    total = get(words, layout.PAGES)
    page = first + 1
    while page < total:
        seen = np.int64(load_acquire(words, page_mark_of(words, page)))
        if seen & layout.LOW_MASK != first << layout.STATE_BITS | layout.TAIL:
            break
        page += 1
    return page - first


@inner
def release_run(words: Words, first: Int) -> None:
    """Frees a run whose first page is CLAIMED by the caller."""
    pages = run_pages(words, first)
    for page in range(first + pages - 1, first, -1):
        at = page_mark_of(words, page)
        store_release(words, at, get(words, at) & layout.GENERATION_MASK)
    at = page_mark_of(words, first)
    store_release(words, at, next_stamp(get(words, at)) & layout.GENERATION_MASK)
    _lower_hint(words, np.int64(layout.RUN_HINT), first)
    if pages >= layout.CHUNK_PAGES:
        _lower_hint(words, np.int64(layout.SLAB_HINT), first)


@inner
def _lower_hint(words: Words, hint_at: Int, page: Int) -> None:
    while True:
        hint = np.int64(load_acquire(words, hint_at))
        if hint <= page or cas(words, hint_at, hint, page):
            return
