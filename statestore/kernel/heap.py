"""Storage for values and long keys: blocks in size classes, taken from the arena's end downwards.

There are four classes per doubling from 32 B to 1 MiB, so a block is at most a quarter larger than what it holds. A
freed block goes to its class's free list and serves that class again; it never turns into one of another class. Both
ways cost a few instructions and depend on nothing but the order of calls, which keeps replicas equal byte for byte.
"""

from statestore.kernel.layout import (
    BUCKETS_END,
    HEAP_BOTTOM,
    HEAP_FREE_LISTS,
    HEAP_UNIT_BYTES,
    HEAP_UNIT_WORDS,
    ONE,
    WORD_BYTES,
    ZERO,
)
from txqueue.jit.decorators import inner
from txqueue.jit.native_types import U64, Bytes, Words
from txqueue.jit.raw_memory import copy_bytes

TWO = U64(2)
THREE = U64(3)
FOUR = U64(4)


@inner
def size_class(length: U64) -> tuple[U64, U64]:
    """The class (from 0) of a block for `length` >= 1 bytes, and that class's size in words."""
    units = (length + HEAP_UNIT_BYTES - ONE) // HEAP_UNIT_BYTES
    if units <= FOUR:
        return units - ONE, units * HEAP_UNIT_WORDS
    last = units - ONE
    exponent = TWO
    while (last >> exponent) > ONE:
        exponent += ONE
    quarter = (last >> (exponent - TWO)) & THREE
    return (exponent - ONE) * FOUR + quarter, ((quarter + FOUR + ONE) << (exponent - TWO)) * HEAP_UNIT_WORDS


@inner
def allocate(words: Words, length: U64) -> U64:
    """Word offset of a block for `length` >= 1 bytes, or 0 where the arena is full."""
    number, size = size_class(length)
    block = words[HEAP_FREE_LISTS + number]
    if block != ZERO:
        words[HEAP_FREE_LISTS + number] = words[block]
        return block
    bottom = words[HEAP_BOTTOM]
    if bottom - words[BUCKETS_END] < size:
        return ZERO
    words[HEAP_BOTTOM] = bottom - size
    return bottom - size


@inner
def release(words: Words, block: U64, length: U64) -> None:
    """Gives back a block that was allocated for `length` bytes; (0, 0) is nothing and may be given back, too."""
    if block != ZERO:
        number, _ = size_class(length)
        words[block] = words[HEAP_FREE_LISTS + number]
        words[HEAP_FREE_LISTS + number] = block


@inner
def store(words: Words, data: Bytes, start: U64, length: U64) -> U64:
    """Copies `length` >= 1 bytes of `data` from `start` into a new block: its word offset, or 0 without room."""
    block = allocate(words, length)
    if block != ZERO:
        copy_bytes(words, block * WORD_BYTES, data, start, length)
    return block
