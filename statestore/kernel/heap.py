"""Heap of values and long keys: blocks in size classes, taken from the arena's end downwards.

There are four classes per doubling from 32 B to 1 MiB, so a block is at most a quarter larger than what it holds. A
freed block goes to its class's free list and serves that class again; it never turns into one of another class. Both
ways cost a few instructions and depend on nothing but the order of calls, which keeps replicas equal byte for byte.
"""

from statestore.kernel.invariants import FREED, is_heap_block, is_marked_free, mark
from statestore.kernel.kernel_types import HeapBlock
from statestore.kernel.layout import (
    BUCKETS_END,
    HEAP_BOTTOM,
    HEAP_CLASSES,
    HEAP_FREE_LISTS,
    HEAP_UNIT_BYTES,
    HEAP_UNIT_WORDS,
    ONE,
    WORD_BYTES,
    ZERO,
)
from txqueue.jit.debug_build import CHECKED, UNCHECKED
from txqueue.jit.decorators import inner
from txqueue.jit.native_types import U64, Bytes, Words
from txqueue.jit.raw_memory import copy_bytes

TWO = U64(2)
THREE = U64(3)
FOUR = U64(4)
NO_BLOCK = HeapBlock(ZERO)


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
def allocate(words: Words, length: U64) -> HeapBlock:
    """A block for `length` >= 1 bytes, or NO_BLOCK where the arena is full."""
    number, size = size_class(length)
    assert UNCHECKED or (length != ZERO and number < HEAP_CLASSES), "there is no class of blocks for this size"
    block = HeapBlock(words[HEAP_FREE_LISTS + number])
    if block != ZERO:
        assert UNCHECKED or is_heap_block(words, block), "a free list leads out of the heap"
        assert UNCHECKED or is_marked_free(words, block), "a freed block was written to"
        words[HEAP_FREE_LISTS + number] = words[block]
        if CHECKED:
            mark(words, block, ZERO)
        return block
    bottom = words[HEAP_BOTTOM]
    assert UNCHECKED or words[BUCKETS_END] <= bottom, "buckets and heap overlap"
    if bottom - words[BUCKETS_END] < size:
        return NO_BLOCK
    words[HEAP_BOTTOM] = bottom - size
    return HeapBlock(bottom - size)


@inner
def release(words: Words, block: HeapBlock, length: U64) -> None:
    """Gives back a block that was allocated for `length` bytes; NO_BLOCK is nothing and may be given back, too."""
    if block != ZERO:
        assert UNCHECKED or is_heap_block(words, block), "what is freed lies outside the heap"
        assert UNCHECKED or not is_marked_free(words, block), "a block is freed twice"
        number, _ = size_class(length)
        if CHECKED:
            mark(words, block, FREED)
        words[block] = words[HEAP_FREE_LISTS + number]
        words[HEAP_FREE_LISTS + number] = block


@inner
def store(words: Words, data: Bytes, start: U64, length: U64) -> HeapBlock:
    """Copies `length` >= 1 bytes of `data` from `start` into a new block, NO_BLOCK without room."""
    block = allocate(words, length)
    if block != ZERO:
        copy_bytes(words, block * WORD_BYTES, data, start, length)
    return block
