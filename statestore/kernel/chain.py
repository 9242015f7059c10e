"""LINKED chains: all of their records take effect, or none does."""

from penstock.contract import result_code
from statestore.kernel.execute import FULL, INVALID, OK, execute
from statestore.kernel.hashing import digest_step
from statestore.kernel.layout import (
    CHAIN_EFFECT,
    CHAIN_SESSION,
    CHAIN_VERDICT,
    CHAIN_WORDS,
    EFFECTS_DIGEST,
    ONE,
    SCRATCH_CHAIN,
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
from txqueue.jit.decorators import inner
from txqueue.jit.native_types import U8, U64, Bytes, Words, u64_range

LINKED_FAILED = U64(result_code.LINKED_FAILED)


@inner
def deduplicate_chain(
    words: Words, region: Bytes, scratch: Words, records: Words, first: U64, end: U64, time_ns: U64
) -> bool:
    """Looks every record of a chain up in its session, in order; whether one of them was applied before."""
    repeated = False
    for i in u64_range(first, end):
        base = i * RECORD_WORDS
        note = SCRATCH_CHAIN + (i - first) * CHAIN_WORDS
        session = session_for(words, records[base + WORD_CLIENT], time_ns)
        verdict = SESSIONS_EXHAUSTED
        if session != ZERO:
            verdict = deduplicate(words, region, session, records[base + WORD_SEQUENCE])
        scratch[note + CHAIN_VERDICT] = verdict
        scratch[note + CHAIN_SESSION] = session
        scratch[note + CHAIN_EFFECT] = ZERO
        repeated |= verdict & DUPLICATE != ZERO
    return repeated


@inner
def execute_chain(
    words: Words,
    region: Bytes,
    scratch: Words,
    records: Words,
    payloads: Bytes,
    payload_bytes: U64,
    first: U64,
    end: U64,
    payload_at: U64,
    first_position: U64,
) -> tuple[U64, U64]:
    """Executes a chain up to its first failure: that record's number and code, or `end` and OK."""
    for i in u64_range(first, end):
        base = i * RECORD_WORDS
        note = SCRATCH_CHAIN + (i - first) * CHAIN_WORDS
        code = scratch[note + CHAIN_VERDICT]
        if code == NEW:
            length = payload_length_of(records, base)
            if length > payload_bytes - payload_at:
                return i, INVALID
            operation = operation_of(records, base)
            hashed = ZERO if operation == APPEND else hash_of_key(words, records, payloads, base, payload_at)
            code, effect = execute(
                words, region, scratch, records, payloads, base, payload_at, hashed, first_position + i + ONE, CHAINED
            )
            scratch[note + CHAIN_EFFECT] = effect
            payload_at += length
        if code != OK:
            return i, code
    return end, OK


@inner
def apply_chain(
    words: Words,
    region: Bytes,
    scratch: Words,
    records: Words,
    payloads: Bytes,
    payload_bytes: U64,
    results: Bytes,
    count: U64,
    first: U64,
    payload_at: U64,
    first_position: U64,
    time_ns: U64,
) -> tuple[U64, U64]:
    """Applies the chain that begins at record `first`: the number of the record behind it, and OK, FULL or INVALID."""
    end = first + ONE
    while flags_of(records, (end - ONE) * RECORD_WORDS) & LINKED:
        if end == count:
            return first, INVALID  # a chain never crosses a block
        end += ONE
    repeated = deduplicate_chain(words, region, scratch, records, first, end, time_ns)
    failed, code = first, OK
    if not repeated:
        failed, code = execute_chain(
            words, region, scratch, records, payloads, payload_bytes, first, end, payload_at, first_position
        )
        if code >= FULL:
            return failed, code
        if code == OK:
            commit(words, scratch)
        else:
            rollback(words, scratch)
    digest = words[EFFECTS_DIGEST]
    for i in u64_range(first, end):
        note = SCRATCH_CHAIN + (i - first) * CHAIN_WORDS
        verdict = scratch[note + CHAIN_VERDICT]
        result = LINKED_FAILED
        if repeated:
            result = LINKED_FAILED if verdict == NEW else verdict
        elif code == OK or i == failed:
            result = code
        results[i] = U8(result)
        if verdict == NEW:
            sequence = records[i * RECORD_WORDS + WORD_SEQUENCE]
            record_result(words, region, scratch[note + CHAIN_SESSION], sequence, result)
        digest = digest_step(digest, result ^ scratch[note + CHAIN_EFFECT] if result == OK else result)
    words[EFFECTS_DIGEST] = digest
    return end, OK
