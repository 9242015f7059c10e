"""Debug mode: what lies behind a slot's bytes is a red zone, and what was returned is poisoned.

A slot's last word seals it: while lent, with the number of bytes asked for; while not, with the process that returned
it. In front of the seal, whatever was not asked for is the red zone. Both are checked when the slot is returned, and
the poison when it is lent again: somebody wrote into a slot that was not theirs (any more).
"""

import numpy as np

from pooling.arena.kernel import layout
from pooling.arena.kernel.addressing import Bool, Int, Words, get
from txqueue.jit.atomics import store_relaxed
from txqueue.jit.decorators import inner

ZONE_BYTES = 16
"""The least that lies behind a slot's bytes: red zone and seal."""
_ZONE = 0x7DFDFDFDFDFDFDFD
_POISON = 0x5DDDDDDDDDDDDDDD
_LENT = 0x1E47 << 48
_RETURNED = 0x2E77 << 48
_SEAL_MASK = 0xFFFF << 48


@inner
def _first_word(words: Words, granule: Int) -> Int:
    return get(words, layout.HEAP_AT) + granule * (layout.GRANULE_BYTES // 8)


@inner
def poison(words: Words, granule: Int, capacity: Int, owner: Int) -> None:
    """Poisons a slot of ``capacity`` bytes, and seals it as returned by a process."""
    first = _first_word(words, granule)
    seal = first + capacity // 8 - 1
    for index in range(first, seal):
        words[np.uint64(index)] = np.uint64(_POISON)
    store_relaxed(words, seal, _RETURNED | owner & ~_SEAL_MASK)


@inner
def is_poisoned(words: Words, granule: Int, capacity: Int) -> Bool:
    """Whether nobody wrote into the slot since it was returned."""
    first = _first_word(words, granule)
    seal = first + capacity // 8 - 1
    for index in range(first, seal):
        if get(words, index) != _POISON:
            return False
    return bool(get(words, seal) & _SEAL_MASK == _RETURNED)


@inner
def returned_by(words: Words, granule: Int, capacity: Int) -> Int:
    """The process that returned the slot, by its identity without the highest bits; 0: unknown."""
    seal = get(words, _first_word(words, granule) + capacity // 8 - 1)
    return seal & ~_SEAL_MASK if seal & _SEAL_MASK == _RETURNED else 0


@inner
def guard(words: Words, granule: Int, capacity: Int, byte_count: Int) -> None:
    """Lays the red zone behind ``byte_count`` bytes, and the seal."""
    first = _first_word(words, granule)
    seal = first + capacity // 8 - 1
    partial = first + byte_count // 8
    kept = (np.int64(1) << (8 * (byte_count & 7))) - 1
    store_relaxed(words, partial, get(words, partial) & kept | _ZONE & ~kept)
    for index in range(partial + 1, seal):
        store_relaxed(words, index, _ZONE)
    store_relaxed(words, seal, _LENT | byte_count)


@inner
def is_whole(words: Words, granule: Int, capacity: Int) -> Bool:
    """Whether a lent slot's seal and red zone are as :func:`guard` left them."""
    first = _first_word(words, granule)
    seal = first + capacity // 8 - 1
    byte_count = get(words, seal) & ~_SEAL_MASK
    if get(words, seal) & _SEAL_MASK != _LENT or not 0 <= byte_count <= capacity - ZONE_BYTES:
        return False
    partial = first + byte_count // 8
    kept = (np.int64(1) << (8 * (byte_count & 7))) - 1
    whole = bool(get(words, partial) & ~kept == _ZONE & ~kept)
    for index in range(partial + 1, seal):
        whole = whole and get(words, index) == _ZONE
    return whole
