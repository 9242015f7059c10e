"""What a chain changed, so that all of it can be taken back.

An undo record is what happened to an entry and the entry as it was (as it became, where it was created). Nothing that a
record of the chain refers to is freed before the chain is settled; outside of a chain it is freed at once.
"""

from statestore.kernel.heap import release
from statestore.kernel.layout import (
    ENTRY_AMOUNT,
    ENTRY_DETAIL,
    ENTRY_HASH,
    ENTRY_IDENT,
    ENTRY_KEY_HI,
    ENTRY_KEY_LO,
    ENTRY_WORDS,
    IDENT_LENGTH_SHIFT,
    KEY_INLINE_BYTES,
    KIND_MASK,
    KIND_VALUE,
    ONE,
    SCRATCH_UNDO,
    SCRATCH_UNDO_COUNT,
    UNDO_WORDS,
    ZERO,
)
from statestore.kernel.table import find, insert, remove
from txqueue.jit.decorators import inner
from txqueue.jit.native_types import U64, Words, u64_range

ALONE = U64(0)
CHAINED = U64(1)
"""How a record is executed. Numbers and not booleans, for which numba would compile all of it twice."""

CHANGED = U64(1)
DELETED = U64(2)
CREATED = U64(3)


@inner
def record_undo(words: Words, scratch: Words, entry: U64, happened: U64) -> None:
    """Notes a change to `entry`: before CHANGED and DELETED, after CREATED."""
    at = SCRATCH_UNDO + scratch[SCRATCH_UNDO_COUNT] * UNDO_WORDS
    scratch[SCRATCH_UNDO_COUNT] += ONE
    scratch[at] = happened
    for k in u64_range(ENTRY_WORDS):
        scratch[at + ONE + k] = words[entry + k]


@inner
def release_value(words: Words, held: Words, entry: U64) -> None:
    """Frees the value, if any, of the entry at `entry` of the array `held`."""
    if held[entry + ENTRY_IDENT] & KIND_MASK == KIND_VALUE:
        release(words, held[entry + ENTRY_AMOUNT], held[entry + ENTRY_DETAIL])


@inner
def release_key(words: Words, held: Words, entry: U64) -> None:
    """Frees the key block, if any, of the entry at `entry` of the array `held`."""
    length = held[entry + ENTRY_IDENT] >> IDENT_LENGTH_SHIFT
    if length > KEY_INLINE_BYTES:
        release(words, held[entry + ENTRY_KEY_LO], length)


@inner
def commit(words: Words, scratch: Words) -> None:
    """Frees what the noted changes replaced, and forgets them."""
    for k in u64_range(scratch[SCRATCH_UNDO_COUNT]):
        at = SCRATCH_UNDO + k * UNDO_WORDS
        if scratch[at] != CREATED:
            release_value(words, scratch, at + ONE)
        if scratch[at] == DELETED:
            release_key(words, scratch, at + ONE)
    scratch[SCRATCH_UNDO_COUNT] = ZERO


@inner
def rollback(words: Words, scratch: Words) -> None:
    """Takes the noted changes back, the last one first, and forgets them.

    An entry that is put back always finds room in the buckets for its hash: they held it before, and whatever came
    since is gone.
    """
    while scratch[SCRATCH_UNDO_COUNT] != ZERO:
        scratch[SCRATCH_UNDO_COUNT] -= ONE
        at = SCRATCH_UNDO + scratch[SCRATCH_UNDO_COUNT] * UNDO_WORDS
        image = at + ONE
        hashed = scratch[image + ENTRY_HASH]
        lo = scratch[image + ENTRY_KEY_LO]
        hi = scratch[image + ENTRY_KEY_HI]
        ident = scratch[image + ENTRY_IDENT]
        if scratch[at] == DELETED:
            entry = insert(words, scratch, hashed, lo, hi, ident)
        else:
            entry = find(words, hashed, lo, hi, ident)
            release_value(words, words, entry)
        if scratch[at] == CREATED:
            release_key(words, words, entry)
            remove(words, entry)
        else:
            for k in u64_range(ENTRY_WORDS):
                words[entry + k] = scratch[image + k]
