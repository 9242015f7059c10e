"""Undo log of a chain: what it changed, so that all of it can be taken back.

An undo record is what happened to an entry and the entry as it was (as it became, where it was created). Nothing that a
record of the chain refers to is freed before the chain is settled; outside of a chain it is freed at once.
"""

from statestore.kernel.heap import release
from statestore.kernel.invariants import is_entry
from statestore.kernel.kernel_types import Entry, Hash, HeapBlock, InlineKey, State
from statestore.kernel.layout import (
    ENTRY_HASH,
    ENTRY_IDENTITY,
    ENTRY_KEY_BLOCK,
    ENTRY_KEY_HI,
    ENTRY_KEY_LO,
    ENTRY_VALUE_BLOCK,
    ENTRY_VALUE_BYTES,
    ENTRY_WORDS,
    IDENTITY_LENGTH_SHIFT,
    KEY_INLINE_BYTES,
    KIND_MASK,
    KIND_VALUE,
    ONE,
    SCRATCH_UNDO,
    SCRATCH_UNDO_COUNT,
    UNDO_RECORDS_MAX,
    UNDO_WORDS,
    ZERO,
)
from statestore.kernel.table import find, insert, remove
from txqueue.jit.debug_build import UNCHECKED
from txqueue.jit.decorators import inner
from txqueue.jit.native_types import U64, Words, u64_range

ALONE = U64(0)
CHAINED = U64(1)
"""How a record is executed. Numbers and not booleans, for which numba would compile all of it twice."""

CHANGED = U64(1)
DELETED = U64(2)
CREATED = U64(3)


@inner
def record_undo(state: State, entry: Entry, happened: U64) -> None:
    """Records a change to `entry`: before CHANGED and DELETED, after CREATED."""
    scratch = state.scratch
    assert UNCHECKED or scratch[SCRATCH_UNDO_COUNT] < UNDO_RECORDS_MAX, "the undo log is full"
    assert UNCHECKED or is_entry(state.words, entry), "a change is recorded of no entry"
    at = SCRATCH_UNDO + scratch[SCRATCH_UNDO_COUNT] * UNDO_WORDS
    scratch[SCRATCH_UNDO_COUNT] += ONE
    scratch[at] = happened
    for k in u64_range(ENTRY_WORDS):
        scratch[at + ONE + k] = state.words[entry + k]


@inner
def release_value(words: Words, held: Words, entry: Entry) -> None:
    """Frees the value, if any, of the entry at `entry` of the array `held`."""
    if held[entry + ENTRY_IDENTITY] & KIND_MASK == KIND_VALUE:
        release(words, HeapBlock(held[entry + ENTRY_VALUE_BLOCK]), held[entry + ENTRY_VALUE_BYTES])


@inner
def release_key(words: Words, held: Words, entry: Entry) -> None:
    """Frees the key block, if any, of the entry at `entry` of the array `held`."""
    length = held[entry + ENTRY_IDENTITY] >> IDENTITY_LENGTH_SHIFT
    if length > KEY_INLINE_BYTES:
        release(words, HeapBlock(held[entry + ENTRY_KEY_BLOCK]), length)


@inner
def commit(state: State) -> None:
    """Frees what the recorded changes replaced, and forgets them."""
    scratch = state.scratch
    for k in u64_range(scratch[SCRATCH_UNDO_COUNT]):
        at = SCRATCH_UNDO + k * UNDO_WORDS
        image = Entry(at + ONE)
        if scratch[at] != CREATED:
            release_value(state.words, scratch, image)
        if scratch[at] == DELETED:
            release_key(state.words, scratch, image)
    scratch[SCRATCH_UNDO_COUNT] = ZERO


@inner
def rollback(state: State) -> None:
    """Takes the recorded changes back, the last one first, and forgets them.

    An entry that is put back always finds room in the buckets for its hash: they held it before, and whatever came
    since is gone.
    """
    words = state.words
    scratch = state.scratch
    while scratch[SCRATCH_UNDO_COUNT] != ZERO:
        scratch[SCRATCH_UNDO_COUNT] -= ONE
        at = SCRATCH_UNDO + scratch[SCRATCH_UNDO_COUNT] * UNDO_WORDS
        image = Entry(at + ONE)
        hashed = Hash(scratch[image + ENTRY_HASH])
        key = InlineKey(scratch[image + ENTRY_KEY_LO], scratch[image + ENTRY_KEY_HI], scratch[image + ENTRY_IDENTITY])
        if scratch[at] == DELETED:
            entry = insert(state, hashed, key)
            assert UNCHECKED or entry != ZERO, "an undone deletion finds no room"
        else:
            entry = find(words, hashed, key)
            assert UNCHECKED or entry != ZERO, "an undone change finds no entry"
            release_value(words, words, entry)
        if scratch[at] == CREATED:
            release_key(words, words, entry)
            remove(words, entry)
        else:
            for k in u64_range(ENTRY_WORDS):
                words[entry + k] = scratch[image + k]
