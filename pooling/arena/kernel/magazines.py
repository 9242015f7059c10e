"""Filling and emptying magazines, and how large they grow.

A magazine of small slots may hold 128 of them. One of large slots starts with 128 KiB, so that threads which use a few
of them keep little from the others, and grows by *slow start*, as TCMalloc's free lists do (Ghemawat and Menage,
"TCMalloc: Thread-Caching Malloc", on sizing thread caches): whenever it runs empty after it overflowed, it may hold
twice as much from then on. Both must have happened: a thread that only lends, or only takes back what others lent,
gains nothing from a larger one. It is small again once its holder is emptied.
"""

import numpy as np

from pooling.arena.kernel import layout
from pooling.arena.kernel.addressing import (
    Int,
    Words,
    class_in,
    first_limit,
    get,
    holder_of,
    magazine_of,
    mark,
    mark_of,
)
from pooling.arena.kernel.slabs import find, give
from txqueue.jit.atomics import store_relaxed
from txqueue.jit.decorators import inner


@inner
def pop(words: Words, holder: Int, size_class: Int) -> Int:
    """Takes the last slot of a magazine, which is half filled first where it is empty; 0 where there is no slot."""
    magazine = magazine_of(holder, size_class)
    if get(words, magazine) & layout.TALLY_MASK == 0:
        found = find(words, holder, size_class, _grown_limit(words, holder, size_class) >> 1)
        if found == 0:
            return np.int64(0)
        count(words, holder, layout.REFILLS)
        store_relaxed(words, magazine, get(words, magazine) + found)
    tally = get(words, magazine)
    handle = get(words, magazine + layout.ENTRIES - 1 + (tally & layout.TALLY_MASK))
    store_relaxed(words, mark_of(words, handle), mark(handle, holder, layout.HELD))
    store_relaxed(words, magazine, tally + (1 << layout.TALLY_SHIFT) - 1)
    return handle


@inner
def push(words: Words, holder: Int, handle: Int) -> None:
    """Puts a slot at the end of its magazine, half of which is flushed first where it is full."""
    size_class = class_in(handle)
    magazine = magazine_of(holder, size_class)
    limit = _limit(words, holder, size_class)
    if get(words, magazine) & layout.TALLY_MASK >= limit:
        _flush(words, holder, size_class, limit >> 1)
        store_relaxed(words, magazine + layout.FLUSHED, 1)
    tally = get(words, magazine)
    store_relaxed(words, magazine + layout.ENTRIES + (tally & layout.TALLY_MASK), handle)
    store_relaxed(words, magazine, tally + 1)


@inner
def empty(words: Words, holder: Int, size_class: Int) -> Int:
    """Gives all slots of a magazine to whoever wants them, and makes it small; returns their number."""
    kept = get(words, magazine_of(holder, size_class)) & layout.TALLY_MASK
    if kept > 0:
        _flush(words, holder, size_class, kept)
    forget(words, holder, size_class)
    return kept


@inner
def forget(words: Words, holder: Int, size_class: Int) -> None:
    """Makes a magazine what it was before its first use, but for what it counted."""
    magazine = magazine_of(holder, size_class)
    if get(words, magazine + layout.LIMIT) == 0:
        return  # it was not used, and should not cost a page of memory now
    store_relaxed(words, magazine, get(words, magazine) & ~layout.TALLY_MASK)
    for word in (layout.CURSOR, layout.FLUSHED, layout.LIMIT):
        store_relaxed(words, magazine + word, 0)


@inner
def _flush(words: Words, holder: Int, size_class: Int, slots: Int) -> None:
    """Gives the slots of a magazine that were unused for longest to whoever wants them."""
    magazine = magazine_of(holder, size_class)
    give(words, holder, size_class, slots)
    store_relaxed(words, magazine, get(words, magazine) - slots)
    count(words, holder, layout.FLUSHES)


@inner
def _limit(words: Words, holder: Int, size_class: Int) -> Int:
    """Slots that a magazine may hold; from its first use on, returning a slot finds it in its word."""
    at = magazine_of(holder, size_class) + layout.LIMIT
    if get(words, at) == 0:
        store_relaxed(words, at, first_limit(size_class))
    return get(words, at)


@inner
def _grown_limit(words: Words, holder: Int, size_class: Int) -> Int:
    """The same for a magazine that ran empty, which grows if it also overflowed since it was last filled."""
    magazine = magazine_of(holder, size_class)
    limit = _limit(words, holder, size_class)
    if get(words, magazine + layout.FLUSHED) != 0:
        limit = min(2 * limit, layout.MAGAZINE_SLOTS_MAX)
        store_relaxed(words, magazine + layout.LIMIT, limit)
        store_relaxed(words, magazine + layout.FLUSHED, 0)
    return limit


@inner
def count(words: Words, holder: Int, counter: Int) -> None:
    """Adds one to a counter of the holder."""
    at = holder_of(holder) + counter
    store_relaxed(words, at, get(words, at) + 1)
