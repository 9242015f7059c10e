"""LINKED chains: all of their records take effect, or none does."""

from penstock.contract import limits, result_code
from statestore.kernel.execute import FULL, INVALID, OK, execute
from statestore.kernel.hashing import digest_step
from statestore.kernel.kernel_types import Block, Hash, Record, State
from statestore.kernel.layout import (
    CHAIN_EFFECT,
    CHAIN_SLOT,
    CHAIN_VERDICT,
    CHAIN_WORDS,
    EFFECTS_DIGEST,
    ONE,
    SCRATCH_CHAIN,
    SCRATCH_UNDO_COUNT,
    ZERO,
)
from statestore.kernel.record_fields import (
    APPEND,
    LINKED,
    RECORD_WORDS,
    WORD_CLIENT,
    WORD_SEQUENCE,
    flags_of,
    hash_of_key,
    operation_of,
    payload_length_of,
)
from statestore.kernel.sessions.fingerprint import RESULT_MASK, fingerprint
from statestore.kernel.sessions.result_pages import is_slot_of
from statestore.kernel.sessions.session_table import NO_SESSION, session_for
from statestore.kernel.sessions.verdicts import (
    DUPLICATE,
    NEW,
    NO_SLOT,
    PENDING,
    SEQUENCE_REUSED,
    SESSIONS_EXHAUSTED,
    judge,
)
from statestore.kernel.undo import CHAINED, commit, rollback
from txqueue.jit.debug_build import UNCHECKED
from txqueue.jit.decorators import inner
from txqueue.jit.native_types import U8, U64, u64_range

LINKED_FAILED = U64(result_code.LINKED_FAILED)
REPEAT = PENDING | DUPLICATE
"""The verdict on a transaction that an earlier record of the same chain is, too."""


@inner
def chain_note(first: U64, number: U64) -> U64:
    """Word offset in the scratch of what is noted of record `number` of the chain that begins at record `first`."""
    assert UNCHECKED or number - first < U64(limits.BATCH_SIZE), "a chain is longer than the notes on it"
    return SCRATCH_CHAIN + (number - first) * CHAIN_WORDS


@inner
def judge_chain(state: State, block: Block, first: U64, end: U64, payload_at: U64) -> bool:
    """Notes the verdict on every record of a chain, in order; whether the key of one was used: then none is executed.

    A new record's slot holds PENDING meanwhile, so that a later record of the chain with the same key is told apart:
    the same transaction once more is a REPEAT, which is not executed and fails nothing; another one is SEQUENCE_REUSED.
    """
    words = state.words
    key_is_used = False
    for i in u64_range(first, end):
        base = i * RECORD_WORDS
        note = chain_note(first, i)
        sequence = block.records[base + WORD_SEQUENCE]
        length = payload_length_of(block.records, base)
        verdict, slot = SESSIONS_EXHAUSTED, NO_SLOT
        session = session_for(words, block.records[base + WORD_CLIENT])
        if session != NO_SESSION and length <= block.payload_bytes - payload_at:
            mark = fingerprint(block.records, block.payloads, base, payload_at)
            verdict, slot = judge(words, session, sequence, mark)
            if verdict == NEW:
                words[slot] = mark | PENDING
            elif verdict == SEQUENCE_REUSED or (verdict & DUPLICATE != ZERO and verdict != REPEAT):
                key_is_used = True
        payload_at += length
        state.scratch[note + CHAIN_VERDICT] = verdict
        state.scratch[note + CHAIN_SLOT] = slot
        state.scratch[note + CHAIN_EFFECT] = ZERO
    return key_is_used


@inner
def execute_chain(state: State, block: Block, first: U64, end: U64, payload_at: U64) -> tuple[U64, U64]:
    """Executes a chain up to its first failure: that record's number and code, or `end` and OK."""
    for i in u64_range(first, end):
        base = i * RECORD_WORDS
        note = chain_note(first, i)
        code = state.scratch[note + CHAIN_VERDICT]
        length = payload_length_of(block.records, base)
        if length > block.payload_bytes - payload_at:
            return i, INVALID
        if code == NEW:
            hashed = Hash(ZERO)
            if operation_of(block.records, base) != APPEND:
                hashed = hash_of_key(state.words, block.records, block.payloads, base, payload_at)
            version = block.first_position + i + ONE
            record = Record(block.records, block.payloads, base, payload_at, hashed, version, CHAINED)
            code, effect = execute(state, record)
            state.scratch[note + CHAIN_EFFECT] = effect
        elif code == REPEAT:
            code = OK
        if code != OK:
            return i, code
        payload_at += length
    return end, OK


@inner
def repeats(state: State, block: Block, first: U64, number: U64, other: U64) -> bool:
    """Whether REPEAT `number` of the chain that begins at record `first` is the transaction of record `other`."""
    base, other_base = number * RECORD_WORDS, other * RECORD_WORDS
    return (
        state.scratch[chain_note(first, other) + CHAIN_VERDICT] == NEW
        and block.records[base + WORD_CLIENT] == block.records[other_base + WORD_CLIENT]
        and block.records[base + WORD_SEQUENCE] == block.records[other_base + WORD_SEQUENCE]
    )


@inner
def apply_chain(state: State, block: Block, first: U64, payload_at: U64) -> tuple[U64, U64]:
    """Applies the chain that begins at record `first`: the number of the record behind it, and OK, FULL or INVALID."""
    end = first + ONE
    while flags_of(block.records, (end - ONE) * RECORD_WORDS) & LINKED != ZERO:
        if end == block.record_count:
            return first, INVALID  # a chain never crosses a block
        end += ONE
    assert UNCHECKED or state.scratch[SCRATCH_UNDO_COUNT] == ZERO, "a chain begins with another one's undo log"
    words = state.words
    key_is_used = judge_chain(state, block, first, end, payload_at)
    failed, code = first, OK
    if not key_is_used:
        failed, code = execute_chain(state, block, first, end, payload_at)
        if code >= FULL:
            return failed, code
        if code == OK:
            commit(state)
        else:
            rollback(state)
    digest = words[EFFECTS_DIGEST]
    for i in u64_range(first, end):
        base = i * RECORD_WORDS
        note = chain_note(first, i)
        verdict = state.scratch[note + CHAIN_VERDICT]
        slot = state.scratch[note + CHAIN_SLOT]
        # A leap of a later record may have pushed this one out of the window, and its page may serve another by now.
        kept = slot != NO_SLOT and is_slot_of(
            words, slot, block.records[base + WORD_CLIENT], block.records[base + WORD_SEQUENCE]
        )
        result = LINKED_FAILED
        if key_is_used:
            result = LINKED_FAILED if verdict in (NEW, REPEAT) else verdict
        elif code == OK or i == failed or (verdict == REPEAT and repeats(state, block, first, i, failed)):
            result = code
        if verdict == REPEAT:
            result |= DUPLICATE
        block.results[i] = U8(result)
        if verdict == NEW and kept:
            words[slot] = (words[slot] & ~RESULT_MASK) | result
        digest = digest_step(digest, result ^ state.scratch[note + CHAIN_EFFECT] if result == OK else result)
    words[EFFECTS_DIGEST] = digest
    return end, OK
