"""Magazines: a holder's caches of slots, filled from slabs and flushed to them, and the growth of their limits.

A magazine of small slots may cache 128 of them. One of large slots starts with 128 KiB, so that threads which use a few
of them keep little from the others, and grows by *slow start*, as TCMalloc's free lists do (Ghemawat and Menage,
"TCMalloc: Thread-Caching Malloc", on sizing thread caches): when it runs empty after it overflowed, its limit doubles.
Both must have happened, since a thread that only lends, or only takes back what others lent, gains nothing from a
larger one. The limit is small again once the holder's caches are flushed.
"""

import numpy as np

from pooling.arena.kernel import layout
from pooling.arena.kernel.addressing import class_in, get, holder_of, initial_limit, magazine_of, mark, mark_of
from pooling.arena.kernel.slabs import fill, return_slots
from txqueue.jit.array_types import Int, Words
from txqueue.jit.atomics import store_relaxed
from txqueue.jit.decorators import inner


@inner
def pop(words: Words, holder: Int, size_class: Int) -> Int:
    """Takes the last slot out of a magazine; an empty one is half filled first. Returns 0 where there is no slot."""
    magazine = magazine_of(holder, size_class)
    if get(words, magazine) & layout.TALLY_MASK == 0:
        found = fill(words, holder, size_class, _grown_limit(words, holder, size_class) >> 1)
        if found == 0:
            return np.int64(0)
        increment(words, holder, layout.REFILLS)
        store_relaxed(words, magazine, get(words, magazine) + found)
    tally = get(words, magazine)
    handle = get(words, magazine + layout.HANDLES - 1 + (tally & layout.TALLY_MASK))
    store_relaxed(words, mark_of(words, handle), mark(handle, holder, layout.LENT))
    store_relaxed(words, magazine, tally + (1 << layout.TALLY_SHIFT) - 1)
    return handle


@inner
def push(words: Words, holder: Int, handle: Int) -> None:
    """Puts a slot at the end of its magazine; half of a full one is returned to its slabs first."""
    size_class = class_in(handle)
    magazine = magazine_of(holder, size_class)
    limit = _limit(words, holder, size_class)
    if get(words, magazine) & layout.TALLY_MASK >= limit:
        _return_unused(words, holder, size_class, limit >> 1)
        store_relaxed(words, magazine + layout.OVERFLOWED, 1)
    tally = get(words, magazine)
    store_relaxed(words, magazine + layout.HANDLES + (tally & layout.TALLY_MASK), handle)
    store_relaxed(words, magazine, tally + 1)


@inner
def flush(words: Words, holder: Int, size_class: Int) -> Int:
    """Returns all slots of a magazine to their slabs and resets it; returns how many there were."""
    slots = get(words, magazine_of(holder, size_class)) & layout.TALLY_MASK
    if slots > 0:
        _return_unused(words, holder, size_class, slots)
    reset(words, holder, size_class)
    return slots


@inner
def reset(words: Words, holder: Int, size_class: Int) -> None:
    """Makes a magazine empty and small, as before its first use; its count of allocations stays."""
    magazine = magazine_of(holder, size_class)
    if get(words, magazine + layout.LIMIT) == 0:
        return  # it was never used; to write to it now would cost a page of memory
    store_relaxed(words, magazine, get(words, magazine) & ~layout.TALLY_MASK)
    for word in (layout.CURSOR, layout.OVERFLOWED, layout.LIMIT):
        store_relaxed(words, magazine + word, 0)


@inner
def _return_unused(words: Words, holder: Int, size_class: Int, slots: Int) -> None:
    """Returns the slots of a magazine that were unused for longest to their slabs."""
    magazine = magazine_of(holder, size_class)
    return_slots(words, holder, size_class, slots)
    store_relaxed(words, magazine, get(words, magazine) - slots)
    increment(words, holder, layout.FLUSHES)


@inner
def _limit(words: Words, holder: Int, size_class: Int) -> Int:
    """Slots that a magazine may cache. The first call stores it, so that `operations.free` finds it in LIMIT."""
    at = magazine_of(holder, size_class) + layout.LIMIT
    if get(words, at) == 0:
        store_relaxed(words, at, initial_limit(size_class))
    return get(words, at)


@inner
def _grown_limit(words: Words, holder: Int, size_class: Int) -> Int:
    """Slots that an empty magazine may cache from now on: twice as many if it overflowed since it was last filled."""
    magazine = magazine_of(holder, size_class)
    limit = _limit(words, holder, size_class)
    if get(words, magazine + layout.OVERFLOWED) != 0:
        limit = min(2 * limit, layout.MAGAZINE_SLOTS_MAX)
        store_relaxed(words, magazine + layout.LIMIT, limit)
        store_relaxed(words, magazine + layout.OVERFLOWED, 0)
    return limit


@inner
def increment(words: Words, holder: Int, counter: Int) -> None:
    """Adds one to a counter of the holder."""
    at = holder_of(holder) + counter
    store_relaxed(words, at, get(words, at) + 1)
