"""Invariants of the state's region, which kernels of a debug build check; see :mod:`txqueue.jit.debug_build`."""

from statestore.kernel.kernel_types import Bucket, Entry, HeapBlock
from statestore.kernel.layout import (
    ARENA_END,
    ARENA_START,
    BUCKET_COUNT,
    BUCKET_DEPTH,
    BUCKET_ENTRIES_MAX,
    BUCKET_NEXT,
    BUCKET_WORDS,
    BUCKETS_END,
    DIRECTORY,
    DIRECTORY_DEPTH,
    ENTRY_COUNT,
    ENTRY_IDENTITY,
    ENTRY_WORDS,
    HEAP_BOTTOM,
    HEAP_UNIT_WORDS,
    KIND_ACCOUNT,
    KIND_MASK,
    KIND_VALUE,
    ONE,
    ZERO,
)
from txqueue.jit.decorators import inner
from txqueue.jit.native_types import U64, Words, u64_range

FREED = U64(0xFEE1DEADFEE1DEAD)
"""What a debug build writes behind the first word of a freed heap block."""


@inner
def is_bucket(words: Words, bucket: Bucket) -> bool:
    """Whether a bucket begins here, and counts no more entries than it has room for and bits than there are."""
    if bucket < words[ARENA_START] or bucket >= words[BUCKETS_END]:
        return False
    if (bucket - words[ARENA_START]) // BUCKET_WORDS * BUCKET_WORDS != bucket - words[ARENA_START]:
        return False
    return words[bucket + BUCKET_COUNT] <= BUCKET_ENTRIES_MAX and words[bucket + BUCKET_DEPTH] <= words[DIRECTORY_DEPTH]


@inner
def is_entry(words: Words, entry: Entry) -> bool:
    """Whether a live entry begins here."""
    if entry < words[ARENA_START] or entry >= words[BUCKETS_END]:
        return False
    in_bucket = (entry - words[ARENA_START]) - (entry - words[ARENA_START]) // BUCKET_WORDS * BUCKET_WORDS
    number = in_bucket // ENTRY_WORDS
    if number * ENTRY_WORDS != in_bucket or number == ZERO or number > words[entry - in_bucket + BUCKET_COUNT]:
        return False
    kind = words[entry + ENTRY_IDENTITY] & KIND_MASK
    return kind >= KIND_VALUE and kind <= KIND_ACCOUNT


@inner
def is_heap_block(words: Words, block: HeapBlock) -> bool:
    """Whether a block of the heap may begin here."""
    if block < words[HEAP_BOTTOM] or block >= words[ARENA_END]:
        return False
    return (words[ARENA_END] - block) // HEAP_UNIT_WORDS * HEAP_UNIT_WORDS == words[ARENA_END] - block


@inner
def is_marked_free(words: Words, block: HeapBlock) -> bool:
    """Whether a heap block looks freed and untouched since. Values do so by a chance of 2^-192."""
    return words[block + U64(1)] == FREED and words[block + U64(2)] == FREED and words[block + U64(3)] == FREED


@inner
def mark(words: Words, block: HeapBlock, what: U64) -> None:
    """Makes a heap block look freed, with FREED, or no longer so."""
    for k in u64_range(ONE, HEAP_UNIT_WORDS):
        words[block + k] = what


@inner
def entries_are_conserved(words: Words) -> bool:
    """Whether the directory names every bucket once per prefix of it, and their counts sum up to ENTRY_COUNT."""
    counted = ZERO
    buckets = ZERO
    prefix = ZERO
    while prefix < ONE << words[DIRECTORY_DEPTH]:
        bucket = Bucket(words[words[DIRECTORY] + prefix])
        run = ONE << (words[DIRECTORY_DEPTH] - words[bucket + BUCKET_DEPTH])
        if not is_bucket(words, bucket) or words[words[DIRECTORY] + prefix + run - ONE] != bucket:
            return False
        prefix += run
        while bucket != ZERO:
            if not is_bucket(words, bucket):
                return False
            counted += words[bucket + BUCKET_COUNT]
            buckets += ONE
            bucket = Bucket(words[bucket + BUCKET_NEXT])
    arena = words[BUCKETS_END] - words[ARENA_START]
    return counted == words[ENTRY_COUNT] and buckets * BUCKET_WORDS == arena
