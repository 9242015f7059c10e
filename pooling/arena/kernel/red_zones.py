"""Red zones and poison of debug mode, by which writes outside of a slot, or after its return, are found.

A slot's last word is its *seal*: while the slot is lent, the number of bytes asked for; while not, the process that
returned it. The bytes between those asked for and the seal are the *red zone*. Red zone and seal are checked when the
slot is returned; then all of it is poisoned, and the poison is checked when it is lent again.
"""

import numpy as np

from pooling.arena.kernel import layout
from pooling.arena.kernel.addressing import get
from txqueue.jit.array_types import Bool, Int, Words
from txqueue.jit.atomics import store_relaxed
from txqueue.jit.decorators import inner

RED_ZONE_BYTES = 16
"""Bytes of red zone and seal together, at least."""
_RED_ZONE = 0x7DFDFDFDFDFDFDFD
_POISON = 0x5DDDDDDDDDDDDDDD
_SEAL_LENT = 0x1E47 << 48
_SEAL_RETURNED = 0x2E77 << 48
_SEAL_MASK = 0xFFFF << 48


@inner
def _first_word(words: Words, granule: Int) -> Int:
    return get(words, layout.HEAP_AT) + granule * (layout.GRANULE_WORDS)


@inner
def poison(words: Words, granule: Int, capacity: Int, owner: Int) -> None:
    """Poisons a slot of ``capacity`` bytes, and seals it as returned by a process."""
    first = _first_word(words, granule)
    seal = first + capacity // 8 - 1
    for index in range(first, seal):
        words[np.uint64(index)] = np.uint64(_POISON)
    store_relaxed(words, seal, _SEAL_RETURNED | owner & ~_SEAL_MASK)


@inner
def is_poisoned(words: Words, granule: Int, capacity: Int) -> Bool:
    """Whether nobody wrote into the slot since it was returned."""
    first = _first_word(words, granule)
    seal = first + capacity // 8 - 1
    for index in range(first, seal):
        if get(words, index) != _POISON:
            return False
    return bool(get(words, seal) & _SEAL_MASK == _SEAL_RETURNED)


@inner
def returned_by(words: Words, granule: Int, capacity: Int) -> Int:
    """The process that returned the slot, by its identity without the highest bits; 0: unknown."""
    seal = get(words, _first_word(words, granule) + capacity // 8 - 1)
    return seal & ~_SEAL_MASK if seal & _SEAL_MASK == _SEAL_RETURNED else 0


@inner
def lay_red_zone(words: Words, granule: Int, capacity: Int, byte_count: Int) -> None:
    """Lays the red zone behind ``byte_count`` bytes, and the seal."""
    first = _first_word(words, granule)
    seal = first + capacity // 8 - 1
    partial = first + byte_count // 8
    asked_for = (np.int64(1) << (8 * (byte_count & 7))) - 1
    store_relaxed(words, partial, get(words, partial) & asked_for | _RED_ZONE & ~asked_for)
    for index in range(partial + 1, seal):
        store_relaxed(words, index, _RED_ZONE)
    store_relaxed(words, seal, _SEAL_LENT | byte_count)


@inner
def is_intact(words: Words, granule: Int, capacity: Int) -> Bool:
    """Whether a lent slot's seal and red zone are as :func:`lay_red_zone` left them."""
    first = _first_word(words, granule)
    seal = first + capacity // 8 - 1
    byte_count = get(words, seal) & ~_SEAL_MASK
    if get(words, seal) & _SEAL_MASK != _SEAL_LENT or not 0 <= byte_count <= capacity - RED_ZONE_BYTES:
        return False
    partial = first + byte_count // 8
    asked_for = (np.int64(1) << (8 * (byte_count & 7))) - 1
    intact = bool(get(words, partial) & ~asked_for == _RED_ZONE & ~asked_for)
    for index in range(partial + 1, seal):
        intact = intact and get(words, index) == _RED_ZONE
    return intact
