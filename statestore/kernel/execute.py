"""Effect of each operation on the state: the rules of `record.proto`, one function per operation."""

import numpy as np

from penstock.contract import result_code
from statestore.kernel.hashing import CREDIT_MULTIPLIER, EFFECT_MULTIPLIER, bytes_digest, key_hash, rotate32
from statestore.kernel.heap import NO_BLOCK, store
from statestore.kernel.invariants import is_entry
from statestore.kernel.kernel_types import Entry, InlineKey, LongKey, Record, State
from statestore.kernel.layout import (
    ENTRY_AMOUNT,
    ENTRY_OVERDRAFT,
    ENTRY_VALUE_BLOCK,
    ENTRY_VALUE_BYTES,
    ENTRY_VERSION,
    IDENTITY_LENGTH_SHIFT,
    KEY_INLINE_BYTES,
    ONE,
    PAGE_CAPACITY_MAX,
    ZERO,
)
from statestore.kernel.layout import SESSION_CAPACITY_MAX as ROWS_MAX
from statestore.kernel.record_fields import (
    ADD,
    APPEND,
    CAS,
    DELETE,
    FLOOR,
    OPEN_ACCOUNT,
    OVERDRAFT,
    PUT,
    TRANSFER,
    WORD_AMOUNT,
    WORD_OPERAND_HI,
    WORD_OPERAND_LO,
    credit_key,
    debit_key,
    flags_of,
    inline_key,
    long_key_bytes,
    operation_of,
    payload_length_of,
)
from statestore.kernel.sessions.session_indexes import set_bounds
from statestore.kernel.table import NO_ENTRY, find, has_inline_key, insert, remove
from statestore.kernel.undo import CHAINED, CHANGED, CREATED, DELETED, record_undo, release_key, release_value
from txqueue.jit.debug_build import UNCHECKED
from txqueue.jit.decorators import inner
from txqueue.jit.native_types import U64, Words

OK = U64(result_code.OK)
KEY_NOT_FOUND = U64(result_code.KEY_NOT_FOUND)
VERSION_MISMATCH = U64(result_code.VERSION_MISMATCH)
OVERFLOW = U64(result_code.OVERFLOW)
BELOW_FLOOR = U64(result_code.BELOW_FLOOR)
INSUFFICIENT_FUNDS = U64(result_code.INSUFFICIENT_FUNDS)
ACCOUNT_NOT_FOUND = U64(result_code.ACCOUNT_NOT_FOUND)
SAME_ACCOUNT = U64(result_code.SAME_ACCOUNT)
ACCOUNT_EXISTS = U64(result_code.ACCOUNT_EXISTS)

SESSIONS_MAX = U64(ROWS_MAX)

FULL = U64(254)
"""Not a result: the arena is full, and the state machine stops."""
INVALID = U64(255)
"""Not a result: the record breaks the contract, and the state machine stops."""


@inner
def open_account(state: State, record: Record) -> U64:
    """OPEN_ACCOUNT: its result."""
    words = state.words
    key = inline_key(record.records, record.base)
    if find(words, record.hashed, key) != ZERO:
        return ACCOUNT_EXISTS
    entry = insert(state, record.hashed, key)
    if entry == ZERO:
        return FULL
    words[entry + ENTRY_VERSION] = record.version
    words[entry + ENTRY_OVERDRAFT] = ONE if flags_of(record.records, record.base) & OVERDRAFT != ZERO else ZERO
    if record.chained == CHAINED:
        record_undo(state, entry, CREATED)
    return OK


@inner
def transfer_between(words: Words, records: Words, base: U64, debit: Entry, credit: Entry) -> bool:
    """Whether the entries `debit` and `credit` are the accounts of a TRANSFER."""
    return has_inline_key(words, debit, debit_key(records, base)) and has_inline_key(
        words, credit, credit_key(records, base)
    )


@inner
def move_amount(state: State, amount: U64, debit: Entry, credit: Entry, version: U64, chained: U64) -> tuple[U64, U64]:
    """Moves a TRANSFER's amount between the entries of its accounts: its result, and its effect for the digest."""
    words = state.words
    if debit == credit:
        return SAME_ACCOUNT, ZERO
    assert UNCHECKED or is_entry(words, debit), "what is debited is no entry"
    assert UNCHECKED or is_entry(words, credit), "what is credited is no entry"
    debit_old = words[debit + ENTRY_AMOUNT]
    credit_old = words[credit + ENTRY_AMOUNT]
    if np.int64(debit_old) < np.int64(amount) and words[debit + ENTRY_OVERDRAFT] == ZERO:
        return INSUFFICIENT_FUNDS, ZERO
    debit_new = debit_old - amount
    credit_new = credit_old + amount
    # The amount is positive, so a sum that wrapped around lies on the wrong side of what it was.
    if np.int64(debit_new) > np.int64(debit_old) or np.int64(credit_new) < np.int64(credit_old):
        return OVERFLOW, ZERO
    if chained == CHAINED:
        record_undo(state, debit, CHANGED)
        record_undo(state, credit, CHANGED)
    words[debit + ENTRY_AMOUNT] = debit_new
    words[debit + ENTRY_VERSION] = version
    words[credit + ENTRY_AMOUNT] = credit_new
    words[credit + ENTRY_VERSION] = version
    return OK, (debit_new * EFFECT_MULTIPLIER) ^ rotate32(credit_new * CREDIT_MULTIPLIER)


@inner
def transfer(state: State, record: Record) -> tuple[U64, U64]:
    """TRANSFER: its result, and its effect for the digest."""
    words = state.words
    debit_of = debit_key(record.records, record.base)
    credit_of = credit_key(record.records, record.base)
    if (debit_of.lo ^ credit_of.lo) | (debit_of.hi ^ credit_of.hi) == ZERO:
        return SAME_ACCOUNT, ZERO
    debit = find(words, key_hash(words, debit_of), debit_of)
    credit = find(words, key_hash(words, credit_of), credit_of)
    if debit == ZERO or credit == ZERO:
        return ACCOUNT_NOT_FOUND, ZERO
    amount = record.records[record.base + WORD_AMOUNT]
    return move_amount(state, amount, debit, credit, record.version, record.chained)


@inner
def find_key(state: State, record: Record) -> Entry:
    """The entry for the key of a PUT, DELETE, CAS or ADD, or NO_ENTRY."""
    key = inline_key(record.records, record.base)
    if key.identity >> IDENTITY_LENGTH_SHIFT <= KEY_INLINE_BYTES:
        return find(state.words, record.hashed, key)
    long_key = LongKey(record.payloads, record.payload_at, record.hashed, key.identity)
    return find(state.words, record.hashed, long_key)


@inner
def create_key(state: State, record: Record) -> Entry:
    """A new entry for the key of a PUT, CAS or ADD that has none, or NO_ENTRY where the arena is full."""
    key = inline_key(record.records, record.base)
    length = key.identity >> IDENTITY_LENGTH_SHIFT
    if length <= KEY_INLINE_BYTES:
        return insert(state, record.hashed, key)
    stored = store(state.words, record.payloads, record.payload_at, length)
    if stored == ZERO:
        return NO_ENTRY
    return insert(state, record.hashed, InlineKey(stored, ZERO, key.identity))


@inner
def add(state: State, record: Record) -> tuple[U64, U64]:
    """ADD: its result, and its effect for the digest."""
    words = state.words
    entry = find_key(state, record)
    old = words[entry + ENTRY_AMOUNT] if entry != ZERO else ZERO
    amount = record.records[record.base + WORD_AMOUNT]
    new = old + amount
    # A sum has overflowed where it differs in sign from both of its operands.
    if np.int64((new ^ old) & (new ^ amount)) < 0:
        return OVERFLOW, ZERO
    floor = record.records[record.base + WORD_OPERAND_LO]
    if flags_of(record.records, record.base) & FLOOR != ZERO and np.int64(new) < np.int64(floor):
        return BELOW_FLOOR, ZERO
    if entry == ZERO:
        entry = create_key(state, record)
        if entry == ZERO:
            return FULL, ZERO
        if record.chained == CHAINED:
            record_undo(state, entry, CREATED)
    elif record.chained == CHAINED:
        record_undo(state, entry, CHANGED)
    words[entry + ENTRY_AMOUNT] = new
    words[entry + ENTRY_VERSION] = record.version
    return OK, new * EFFECT_MULTIPLIER


@inner
def put(state: State, record: Record) -> tuple[U64, U64]:
    """PUT and CAS: the result, and the effect for the digest."""
    words = state.words
    entry = find_key(state, record)
    if operation_of(record.records, record.base) == CAS:
        current = words[entry + ENTRY_VERSION] if entry != ZERO else ZERO
        if current != record.records[record.base + WORD_OPERAND_LO]:
            return VERSION_MISMATCH, ZERO
    key_bytes = long_key_bytes(record.records, record.base)
    start = record.payload_at + key_bytes
    length = payload_length_of(record.records, record.base) - key_bytes
    value = NO_BLOCK
    if length != ZERO:
        value = store(words, record.payloads, start, length)
        if value == ZERO:
            return FULL, ZERO
    if entry == ZERO:
        entry = create_key(state, record)
        if entry == ZERO:
            return FULL, ZERO
        words[entry + ENTRY_VALUE_BLOCK] = value
        words[entry + ENTRY_VALUE_BYTES] = length
        if record.chained == CHAINED:
            record_undo(state, entry, CREATED)
    else:
        if record.chained == CHAINED:
            record_undo(state, entry, CHANGED)
        else:
            release_value(words, words, entry)
        words[entry + ENTRY_VALUE_BLOCK] = value
        words[entry + ENTRY_VALUE_BYTES] = length
    words[entry + ENTRY_VERSION] = record.version
    return OK, bytes_digest(record.payloads, start, length) * EFFECT_MULTIPLIER


@inner
def delete(state: State, record: Record) -> U64:
    """DELETE: its result."""
    words = state.words
    entry = find_key(state, record)
    if entry == ZERO:
        return KEY_NOT_FOUND
    if record.chained == CHAINED:
        record_undo(state, entry, DELETED)
    else:
        release_value(words, words, entry)
        release_key(words, words, entry)
    remove(words, entry)
    return OK


@inner
def set_session_bounds(words: Words, records: Words, base: U64) -> U64:
    """SET_SESSION_BOUNDS: its result, or FULL where there is no address space for as many pages, or INVALID.

    It is no client's and needs no session, or it could not make room for any.
    """
    capacity = records[base + WORD_AMOUNT]
    pages = records[base + WORD_OPERAND_HI]
    if capacity > SESSIONS_MAX:
        return INVALID
    if pages > words[PAGE_CAPACITY_MAX]:
        return FULL
    set_bounds(words, capacity, records[base + WORD_OPERAND_LO], pages)
    return OK


@inner
def execute(state: State, record: Record) -> tuple[U64, U64]:
    """Applies one record: its result (or FULL, INVALID), and its effect for the digest."""
    operation = operation_of(record.records, record.base)
    if operation == TRANSFER:
        return transfer(state, record)
    if operation == APPEND:
        return OK, ZERO
    if operation == OPEN_ACCOUNT:
        return open_account(state, record), ZERO
    if long_key_bytes(record.records, record.base) > payload_length_of(record.records, record.base):
        return INVALID, ZERO
    if operation in (PUT, CAS):
        return put(state, record)
    if operation == ADD:
        return add(state, record)
    if operation == DELETE:
        return delete(state, record), ZERO
    return INVALID, ZERO
