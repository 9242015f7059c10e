"""Application of a block: the one compiled call that a transaction's effect comes from.

Records are hashed and their entries prefetched a chunk ahead of being applied, so that a table larger than the caches
costs overlapping misses and not one after the other. A TRANSFER without flags takes the short way through the loop;
session, page of results and digest stay in registers between records.
"""

import numpy as np
from numpy.typing import NDArray

from statestore.kernel.chain import apply_chain
from statestore.kernel.execute import (
    FULL,
    INVALID,
    OK,
    execute,
    move_amount,
    set_session_bounds,
    transfer,
    transfer_between,
)
from statestore.kernel.hashing import digest_step, key_hash
from statestore.kernel.invariants import entries_are_conserved
from statestore.kernel.kernel_types import Block, Entry, Hash, Page, Record, State
from statestore.kernel.layout import (
    CHUNK_RECORDS,
    DIRECTORY,
    DIRECTORY_DEPTH,
    EFFECTS_DIGEST,
    HASH_BITS,
    LOOKAHEAD_MASK,
    ONE,
    PAGE_SEQUENCE_MASK,
    SCRATCH_CREDIT,
    SCRATCH_DEBIT,
    SCRATCH_FINGERPRINT,
    SCRATCH_HASH,
    SCRATCH_PAYLOAD,
    SESSION_HIGHEST,
    SESSION_PAGE,
    ZERO,
)
from statestore.kernel.record_fields import (
    APPEND,
    END_SESSION,
    LINKED,
    RECORD_WORDS,
    SET_SESSION_BOUNDS,
    TRANSFER,
    WORD_AMOUNT,
    WORD_CLIENT,
    WORD_SEQUENCE,
    credit_key,
    debit_key,
    flags_of,
    hash_of_key,
    operation_of,
    payload_length_of,
)
from statestore.kernel.sessions.fingerprint import fingerprint
from statestore.kernel.sessions.result_pages import NO_PAGE, slot_of_sequence
from statestore.kernel.sessions.session_invariants import sessions_are_conserved
from statestore.kernel.sessions.session_table import NO_SESSION, advance_session_time, session_for
from statestore.kernel.sessions.verdicts import NEW, SESSIONS_EXHAUSTED, end_session, judge
from statestore.kernel.table import bucket_at, candidate, group_in
from statestore.kernel.undo import ALONE
from txqueue.jit.debug_build import UNCHECKED
from txqueue.jit.decorators import inner, kernel
from txqueue.jit.native_types import U8, U64, u64_range
from txqueue.jit.raw_memory import pointer, prefetch

CODE_BITS = U64(8)
PAYLOADS_OVERRUN = ~ZERO


@inner
def hash_and_prefetch(state: State, block: Block, start: U64, end: U64, payload_at: U64) -> U64:
    """Hashes the keys of records `start` to `end` into the scratch ring and prefetches their entries.

    Returns where the payloads go on, or PAYLOADS_OVERRUN where they are longer than the block says.
    """
    words = state.words
    scratch = state.scratch
    records = block.records
    directory = words[DIRECTORY]
    shift = HASH_BITS - words[DIRECTORY_DEPTH]
    for i in u64_range(start, end):
        base = i * RECORD_WORDS
        at = i & LOOKAHEAD_MASK
        operation = operation_of(records, base)
        length = payload_length_of(records, base)
        if length > block.payload_bytes - payload_at:
            return PAYLOADS_OVERRUN
        mark = fingerprint(records, block.payloads, base, payload_at)
        if operation == TRANSFER:
            # Nothing is stored between the two: so what their keys have in common is loaded and multiplied once.
            debit_hash = key_hash(words, debit_key(records, base))
            credit_hash = key_hash(words, credit_key(records, base))
            prefetch(words, group_in(bucket_at(words, directory, shift, debit_hash), debit_hash))
            prefetch(words, group_in(bucket_at(words, directory, shift, credit_hash), credit_hash))
            scratch[SCRATCH_DEBIT + at] = debit_hash
            scratch[SCRATCH_CREDIT + at] = credit_hash
        elif operation != APPEND and operation < END_SESSION:
            hashed = hash_of_key(words, records, block.payloads, base, payload_at)
            scratch[SCRATCH_HASH + at] = hashed
            scratch[SCRATCH_DEBIT + at] = hashed
            prefetch(words, group_in(bucket_at(words, directory, shift, hashed), hashed))
        scratch[SCRATCH_PAYLOAD + at] = payload_at
        scratch[SCRATCH_FINGERPRINT + at] = mark
        payload_at += length
    # Their tags are on the way now. What is no transfer gets a candidate for a credit that it does not have: cheaper
    # than a branch.
    for i in u64_range(start, end):
        at = i & LOOKAHEAD_MASK
        hashed = Hash(scratch[SCRATCH_DEBIT + at])
        debit = candidate(words, bucket_at(words, directory, shift, hashed), hashed)
        scratch[SCRATCH_DEBIT + at] = debit
        prefetch(words, debit)
        hashed = Hash(scratch[SCRATCH_CREDIT + at])
        credit = candidate(words, bucket_at(words, directory, shift, hashed), hashed)
        scratch[SCRATCH_CREDIT + at] = credit
        prefetch(words, credit)
    return payload_at


@kernel
def apply_block(
    region_words: NDArray[np.uint64],
    scratch_words: NDArray[np.uint64],
    record_words: NDArray[np.uint64],
    payload_data: NDArray[np.uint8],
    result_data: NDArray[np.uint8],
    first_position: U64,
    time_ns: U64,
) -> U64:
    """Applies the records of a block.

    Args:
        region_words: the state's region, uint64.
        scratch_words: uint64[SCRATCH_WORDS].
        record_words: uint64[n * 8], read-only.
        payload_data: uint8, read-only.
        result_data: uint8[n], written.
        first_position: of the first record.
        time_ns: the block's time.

    Returns:
        0, or where the state machine must stop: the record's number << 8 | FULL or INVALID.

    Raises:
        AssertionError: an invariant does not hold; in a debug build only.
    """
    words = pointer(region_words)
    scratch = pointer(scratch_words)
    records = pointer(record_words)
    payloads = pointer(payload_data)
    results = pointer(result_data)
    count = U64(result_data.size)
    state = State(words, scratch)
    block = Block(records, payloads, U64(payload_data.size), results, count, first_position, time_ns)
    prepared = ZERO
    payload_next = ZERO
    client = ZERO
    session = NO_SESSION
    highest = ZERO
    page = NO_PAGE
    advance_session_time(words, time_ns)
    digest = words[EFFECTS_DIGEST]
    i = ZERO
    while i < count:
        while prepared < count and prepared < i + CHUNK_RECORDS:
            end = min(prepared + CHUNK_RECORDS, count)
            payload_next = hash_and_prefetch(state, block, prepared, end, payload_next)
            if payload_next == PAYLOADS_OVERRUN:
                return (prepared << CODE_BITS) | INVALID
            prepared = end
        base = i * RECORD_WORDS
        if flags_of(records, base) & LINKED != ZERO:
            if session != NO_SESSION:
                words[session + SESSION_HIGHEST] = highest
            session = NO_SESSION
            words[EFFECTS_DIGEST] = digest
            i, code = apply_chain(state, block, i, scratch[SCRATCH_PAYLOAD + (i & LOOKAHEAD_MASK)])
            if code != OK:
                return (i << CODE_BITS) | code
            digest = words[EFFECTS_DIGEST]
            continue
        if operation_of(records, base) == SET_SESSION_BOUNDS:
            result = set_session_bounds(words, records, base)
            if result >= FULL:
                return (i << CODE_BITS) | result
            results[i] = U8(result)
            digest = digest_step(digest, result)
            i += ONE
            continue
        if records[base + WORD_CLIENT] != client or session == NO_SESSION:
            if session != NO_SESSION:
                words[session + SESSION_HIGHEST] = highest
            client = records[base + WORD_CLIENT]
            session = session_for(words, client)
            if session != NO_SESSION:
                highest = words[session + SESSION_HIGHEST]
                page = Page(words[session + SESSION_PAGE])
        sequence = records[base + WORD_SEQUENCE]
        at = i & LOOKAHEAD_MASK
        mark = scratch[SCRATCH_FINGERPRINT + at]
        result = NEW
        slot = slot_of_sequence(page, sequence)
        if session == NO_SESSION:
            result = SESSIONS_EXHAUSTED
        elif (
            sequence == highest + ONE
            and sequence & PAGE_SEQUENCE_MASK != ZERO
            and page != NO_PAGE
            and operation_of(records, base) != END_SESSION
        ):
            # The next slot of the page in hand, which is empty: nothing to look up.
            highest = sequence
            assert UNCHECKED or words[slot] == ZERO, "a sequence above the highest has a result"
        else:
            words[session + SESSION_HIGHEST] = highest
            if operation_of(records, base) == END_SESSION:
                result = end_session(words, session, sequence, mark)
            else:
                result, slot = judge(words, session, sequence, mark)
            highest = words[session + SESSION_HIGHEST]
            page = Page(words[session + SESSION_PAGE])
        effect = ZERO
        if result == NEW:
            debit = Entry(scratch[SCRATCH_DEBIT + at])
            credit = Entry(scratch[SCRATCH_CREDIT + at])
            version = first_position + i + ONE
            if operation_of(records, base) == TRANSFER and transfer_between(words, records, base, debit, credit):
                result, effect = move_amount(state, records[base + WORD_AMOUNT], debit, credit, version, ALONE)
            else:
                payload_at = scratch[SCRATCH_PAYLOAD + at]
                hashed = Hash(scratch[SCRATCH_HASH + at])
                record = Record(records, payloads, base, payload_at, hashed, version, ALONE)
                if operation_of(records, base) == TRANSFER:
                    result, effect = transfer(state, record)
                else:
                    result, effect = execute(state, record)
                    if result >= FULL:
                        return (i << CODE_BITS) | result
            words[slot] = mark | result
        results[i] = U8(result)
        digest = digest_step(digest, result ^ effect)
        i += ONE
    if session != NO_SESSION:
        words[session + SESSION_HIGHEST] = highest
    words[EFFECTS_DIGEST] = digest
    assert UNCHECKED or sessions_are_conserved(words), "the orders of use do not hold the sessions that are counted"
    assert UNCHECKED or entries_are_conserved(words), "the buckets do not hold the entries that are counted"
    return ZERO
