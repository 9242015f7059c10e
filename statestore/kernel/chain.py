"""LINKED chains: all of their records take effect, or none does."""

from penstock.contract import limits, result_code
from statestore.kernel.execute import FULL, INVALID, OK, execute
from statestore.kernel.hashing import digest_step
from statestore.kernel.kernel_types import Block, Hash, Record, Session, State
from statestore.kernel.layout import (
    CHAIN_EFFECT,
    CHAIN_SESSION,
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
from statestore.kernel.sessions import DUPLICATE, NEW, SESSIONS_EXHAUSTED, deduplicate, record_result, session_for
from statestore.kernel.undo import CHAINED, commit, rollback
from txqueue.jit.debug_build import UNCHECKED
from txqueue.jit.decorators import inner
from txqueue.jit.native_types import U8, U64, u64_range

LINKED_FAILED = U64(result_code.LINKED_FAILED)


@inner
def chain_note(first: U64, number: U64) -> U64:
    """Word offset in the scratch of what is noted of record `number` of the chain that begins at record `first`."""
    assert UNCHECKED or number - first < U64(limits.BATCH_SIZE), "a chain is longer than the notes on it"
    return SCRATCH_CHAIN + (number - first) * CHAIN_WORDS


@inner
def deduplicate_chain(state: State, block: Block, first: U64, end: U64) -> bool:
    """Notes the verdict on every record of a chain, in order; whether one of them was applied before."""
    repeated = False
    for i in u64_range(first, end):
        base = i * RECORD_WORDS
        note = chain_note(first, i)
        session = session_for(state.words, block.records[base + WORD_CLIENT], block.time_ns)
        verdict = SESSIONS_EXHAUSTED
        if session != ZERO:
            verdict = deduplicate(state.words, session, block.records[base + WORD_SEQUENCE])
        state.scratch[note + CHAIN_VERDICT] = verdict
        state.scratch[note + CHAIN_SESSION] = session
        state.scratch[note + CHAIN_EFFECT] = ZERO
        repeated |= verdict & DUPLICATE != ZERO
    return repeated


@inner
def execute_chain(state: State, block: Block, first: U64, end: U64, payload_at: U64) -> tuple[U64, U64]:
    """Executes a chain up to its first failure: that record's number and code, or `end` and OK."""
    for i in u64_range(first, end):
        base = i * RECORD_WORDS
        note = chain_note(first, i)
        code = state.scratch[note + CHAIN_VERDICT]
        if code == NEW:
            length = payload_length_of(block.records, base)
            if length > block.payload_bytes - payload_at:
                return i, INVALID
            hashed = Hash(ZERO)
            if operation_of(block.records, base) != APPEND:
                hashed = hash_of_key(state.words, block.records, block.payloads, base, payload_at)
            version = block.first_position + i + ONE
            record = Record(block.records, block.payloads, base, payload_at, hashed, version, CHAINED)
            code, effect = execute(state, record)
            state.scratch[note + CHAIN_EFFECT] = effect
            payload_at += length
        if code != OK:
            return i, code
    return end, OK


@inner
def apply_chain(state: State, block: Block, first: U64, payload_at: U64) -> tuple[U64, U64]:
    """Applies the chain that begins at record `first`: the number of the record behind it, and OK, FULL or INVALID."""
    end = first + ONE
    while flags_of(block.records, (end - ONE) * RECORD_WORDS) & LINKED != ZERO:
        if end == block.record_count:
            return first, INVALID  # a chain never crosses a block
        end += ONE
    assert UNCHECKED or state.scratch[SCRATCH_UNDO_COUNT] == ZERO, "a chain begins with another one's undo log"
    repeated = deduplicate_chain(state, block, first, end)
    failed, code = first, OK
    if not repeated:
        failed, code = execute_chain(state, block, first, end, payload_at)
        if code >= FULL:
            return failed, code
        if code == OK:
            commit(state)
        else:
            rollback(state)
    digest = state.words[EFFECTS_DIGEST]
    for i in u64_range(first, end):
        note = chain_note(first, i)
        verdict = state.scratch[note + CHAIN_VERDICT]
        result = LINKED_FAILED
        if repeated:
            result = LINKED_FAILED if verdict == NEW else verdict
        elif code == OK or i == failed:
            result = code
        block.results[i] = U8(result)
        if verdict == NEW:
            sequence = block.records[i * RECORD_WORDS + WORD_SEQUENCE]
            record_result(state.words, Session(state.scratch[note + CHAIN_SESSION]), sequence, result)
        digest = digest_step(digest, result ^ state.scratch[note + CHAIN_EFFECT] if result == OK else result)
    state.words[EFFECTS_DIGEST] = digest
    return end, OK
