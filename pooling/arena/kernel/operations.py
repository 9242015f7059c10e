"""The arena's operations in compiled code: allocate, free, adopt.

Each holder has a *magazine* per size class, after TCMalloc's thread caches (Ghemawat and Menage) and Bonwick's
magazines (Bonwick and Adams, "Magazines and Vmem", USENIX 2001). A hit is a few plain stores: the slot's mark, its
handle in the magazine, and the tally. Their order does not matter: if the holder dies, its magazines are reset, and
the marks say which slots were its own. How many slots a magazine may cache grows by need (``magazines.py``).

Any holder may return a slot; it is then cached by the one that returned it. A return by the slot's own holder is no
compare-and-swap, so a second return in the very same instant, by another thread, is noticed in debug mode only. Any
later return is noticed always, by the generation.
"""

import numpy as np

from pooling.arena.kernel import layout
from pooling.arena.kernel.addressing import (
    class_in,
    class_of,
    get,
    magazine_of,
    mark,
    mark_of,
    next_stamp,
    slot_mark_of,
)
from pooling.arena.kernel.slow_path import FOREIGN, RETURNED, allocate_slowly, capacity_of, free_slowly, take_over
from txqueue.jit.array_types import Int, Words
from txqueue.jit.atomics import store_relaxed
from txqueue.jit.decorators import operation


@operation(2)
def allocate(words: Words, holder: Int, byte_count: Int) -> Int:
    """Lends a slot, which has whatever its last user left in it.

    Args:
        words: uint64[:], the whole region.
        holder: int64, index of a holder that the caller has registered and that no other thread uses at the same time.
        byte_count: int64, at least this many, up to the heap's size. A slot of a class starts on a multiple of its
            size, a larger one on a page (in debug mode, the red zone counts).

    Returns:
        The slot's handle, positive; or ``slow_path.FULL`` (or, in debug mode, WRITTEN).
    """
    size_class = class_of(byte_count)
    if size_class == layout.LARGE or get(words, layout.DEBUG) != 0:
        return allocate_slowly(words, holder, byte_count)
    magazine = magazine_of(holder, size_class)
    tally = get(words, magazine)
    if tally & layout.TALLY_MASK == 0:
        return allocate_slowly(words, holder, byte_count)
    handle = get(words, magazine + layout.HANDLES - 1 + (tally & layout.TALLY_MASK))
    at = slot_mark_of(words, handle & layout.LOW_MASK, size_class)
    store_relaxed(words, at, mark(handle, holder, layout.LENT))
    store_relaxed(words, magazine, tally + (1 << layout.TALLY_SHIFT) - 1)
    return handle


@operation(2)
def free(words: Words, holder: Int, handle: Int) -> Int:
    """Takes a slot back. Its handle is void from now on.

    Args:
        words: uint64[:], the whole region.
        holder: int64, of the caller; the slot may have been lent to another one.
        handle: int64, from :func:`allocate`.

    Returns:
        0; or ``slow_path.FOREIGN`` or RETURNED, and nothing has changed; or (in debug mode) DAMAGED.
    """
    at = mark_of(words, handle)
    if at < 0:
        return np.int64(FOREIGN)
    size_class = class_in(handle)
    if size_class == layout.LARGE or get(words, layout.DEBUG) != 0:
        return free_slowly(words, holder, handle)
    magazine = magazine_of(holder, size_class)
    tally = get(words, magazine)
    full = tally & layout.TALLY_MASK >= get(words, magazine + layout.LIMIT)
    if full or get(words, at) != mark(handle, holder, layout.LENT):
        return free_slowly(words, holder, handle)
    next_handle = next_stamp(handle) | handle & layout.LOW_MASK
    store_relaxed(words, at, mark(next_handle, holder, layout.CACHED))
    store_relaxed(words, magazine + layout.HANDLES + (tally & layout.TALLY_MASK), next_handle)
    store_relaxed(words, magazine, tally + 1)
    return np.int64(0)


@operation(2)
def adopt(words: Words, holder: Int, handle: Int) -> Int:
    """Makes a lent slot this holder's, so that it outlives the one it was lent to.

    Returns:
        The slot's bytes; or ``slow_path.FOREIGN`` or RETURNED.
    """
    if mark_of(words, handle) < 0:
        return np.int64(FOREIGN)
    if not take_over(words, holder, handle, mark(handle, holder, layout.LENT)):
        return np.int64(RETURNED)
    return capacity_of(words, handle)


@operation(1)
def first_word(words: Words, handle: Int) -> Int:
    """Index into ``words`` of a slot's first word, good for as long as the handle."""
    return get(words, layout.HEAP_AT) + (handle & layout.LOW_MASK) * (layout.GRANULE_WORDS)


@operation(1)
def mark_at(words: Words, handle: Int) -> Int:
    """Index into ``words`` of the mark that a handle's slot has, or -1 where the handle is foreign."""
    return mark_of(words, handle)


OPERATIONS = (allocate, free, adopt, mark_at)
"""What Python calls, too."""
