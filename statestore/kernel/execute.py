"""What each operation does to the state: the rules of `record.proto`, one function per operation."""

import numpy as np

from penstock.contract import result_code
from statestore.kernel.hashing import CREDIT_MULTIPLIER, EFFECT_MULTIPLIER, bytes_digest, rotate32
from statestore.kernel.heap import store
from statestore.kernel.layout import (
    ENTRY_AMOUNT,
    ENTRY_DETAIL,
    ENTRY_VERSION,
    IDENT_LENGTH_SHIFT,
    KEY_INLINE_BYTES,
    ONE,
    ZERO,
)
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
    WORD_KEY_HI,
    WORD_KEY_LO,
    WORD_OPERAND_HI,
    WORD_OPERAND_LO,
    account_ident,
    flags_of,
    hash_of_credit,
    hash_of_debit,
    key_ident,
    long_key_bytes,
    operation_of,
    payload_length_of,
)
from statestore.kernel.table import find, find_long, has_key, insert, remove
from statestore.kernel.undo import CHAINED, CHANGED, CREATED, DELETED, record_undo, release_key, release_value
from txqueue.jit.decorators import inner
from txqueue.jit.native_types import U64, Bytes, Words

OK = U64(result_code.OK)
KEY_NOT_FOUND = U64(result_code.KEY_NOT_FOUND)
VERSION_MISMATCH = U64(result_code.VERSION_MISMATCH)
OVERFLOW = U64(result_code.OVERFLOW)
BELOW_FLOOR = U64(result_code.BELOW_FLOOR)
INSUFFICIENT_FUNDS = U64(result_code.INSUFFICIENT_FUNDS)
ACCOUNT_NOT_FOUND = U64(result_code.ACCOUNT_NOT_FOUND)
SAME_ACCOUNT = U64(result_code.SAME_ACCOUNT)
ACCOUNT_EXISTS = U64(result_code.ACCOUNT_EXISTS)

FULL = U64(254)
"""Not a result: the arena is full, and the state machine stops."""
INVALID = U64(255)
"""Not a result: the record breaks the contract, and the state machine stops."""


@inner
def open_account(
    words: Words, scratch: Words, records: Words, base: U64, hashed: U64, version: U64, chained: U64
) -> U64:
    """OPEN_ACCOUNT."""
    ident = key_ident(records, base)
    lo = records[base + WORD_KEY_LO]
    hi = records[base + WORD_KEY_HI]
    if find(words, hashed, lo, hi, ident) != ZERO:
        return ACCOUNT_EXISTS
    entry = insert(words, scratch, hashed, lo, hi, ident)
    if entry == ZERO:
        return FULL
    words[entry + ENTRY_VERSION] = version
    words[entry + ENTRY_DETAIL] = ONE if flags_of(records, base) & OVERDRAFT else ZERO
    if chained == CHAINED:
        record_undo(words, scratch, entry, CREATED)
    return OK


@inner
def transfer_between(words: Words, records: Words, base: U64, debit: U64, credit: U64) -> bool:
    """Whether the entries `debit` and `credit` are the accounts of a TRANSFER."""
    ident = account_ident(records, base)
    return has_key(words, debit, records[base + WORD_KEY_LO], records[base + WORD_KEY_HI], ident) and has_key(
        words, credit, records[base + WORD_OPERAND_LO], records[base + WORD_OPERAND_HI], ident
    )


@inner
def move_amount(
    words: Words, scratch: Words, records: Words, base: U64, debit: U64, credit: U64, version: U64, chained: U64
) -> tuple[U64, U64]:
    """Moves a TRANSFER's amount between the entries of its accounts: its result, and its effect for the digest."""
    if debit == credit:
        return SAME_ACCOUNT, ZERO
    amount = records[base + WORD_AMOUNT]
    debit_old = words[debit + ENTRY_AMOUNT]
    credit_old = words[credit + ENTRY_AMOUNT]
    if np.int64(debit_old) < np.int64(amount) and words[debit + ENTRY_DETAIL] == ZERO:
        return INSUFFICIENT_FUNDS, ZERO
    debit_new = debit_old - amount
    credit_new = credit_old + amount
    # The amount is positive, so a sum that wrapped around lies on the wrong side of what it was.
    if np.int64(debit_new) > np.int64(debit_old) or np.int64(credit_new) < np.int64(credit_old):
        return OVERFLOW, ZERO
    if chained == CHAINED:
        record_undo(words, scratch, debit, CHANGED)
        record_undo(words, scratch, credit, CHANGED)
    words[debit + ENTRY_AMOUNT] = debit_new
    words[debit + ENTRY_VERSION] = version
    words[credit + ENTRY_AMOUNT] = credit_new
    words[credit + ENTRY_VERSION] = version
    return OK, (debit_new * EFFECT_MULTIPLIER) ^ rotate32(credit_new * CREDIT_MULTIPLIER)


@inner
def transfer(words: Words, scratch: Words, records: Words, base: U64, version: U64, chained: U64) -> tuple[U64, U64]:
    """TRANSFER: its result, and its effect for the digest."""
    ident = account_ident(records, base)
    debit_lo = records[base + WORD_KEY_LO]
    debit_hi = records[base + WORD_KEY_HI]
    credit_lo = records[base + WORD_OPERAND_LO]
    credit_hi = records[base + WORD_OPERAND_HI]
    if (debit_lo ^ credit_lo) | (debit_hi ^ credit_hi) == ZERO:
        return SAME_ACCOUNT, ZERO
    debit = find(words, hash_of_debit(words, records, base), debit_lo, debit_hi, ident)
    credit = find(words, hash_of_credit(words, records, base), credit_lo, credit_hi, ident)
    if debit == ZERO or credit == ZERO:
        return ACCOUNT_NOT_FOUND, ZERO
    return move_amount(words, scratch, records, base, debit, credit, version, chained)


@inner
def find_key(
    words: Words, region: Bytes, records: Words, payloads: Bytes, base: U64, payload_at: U64, hashed: U64
) -> U64:
    """The entry for the key of a PUT, DELETE, CAS or ADD, or 0."""
    ident = key_ident(records, base)
    length = ident >> IDENT_LENGTH_SHIFT
    if length <= KEY_INLINE_BYTES:
        return find(words, hashed, records[base + WORD_KEY_LO], records[base + WORD_KEY_HI], ident)
    return find_long(words, region, hashed, ident, payloads, payload_at)


@inner
def create_key(
    words: Words, scratch: Words, records: Words, payloads: Bytes, base: U64, payload_at: U64, hashed: U64
) -> U64:
    """A new entry for the key of a PUT, CAS or ADD that has none, or 0 where the arena is full."""
    ident = key_ident(records, base)
    length = ident >> IDENT_LENGTH_SHIFT
    if length <= KEY_INLINE_BYTES:
        return insert(words, scratch, hashed, records[base + WORD_KEY_LO], records[base + WORD_KEY_HI], ident)
    key = store(words, payloads, payload_at, length)
    if key == ZERO:
        return ZERO
    return insert(words, scratch, hashed, key, ZERO, ident)


@inner
def add(
    words: Words,
    region: Bytes,
    scratch: Words,
    records: Words,
    payloads: Bytes,
    base: U64,
    payload_at: U64,
    hashed: U64,
    version: U64,
    chained: U64,
) -> tuple[U64, U64]:
    """ADD: its result, and its effect for the digest."""
    entry = find_key(words, region, records, payloads, base, payload_at, hashed)
    old = words[entry + ENTRY_AMOUNT] if entry != ZERO else ZERO
    amount = records[base + WORD_AMOUNT]
    new = old + amount
    # A sum has overflowed where it differs in sign from both of its operands.
    if np.int64((new ^ old) & (new ^ amount)) < 0:
        return OVERFLOW, ZERO
    if flags_of(records, base) & FLOOR and np.int64(new) < np.int64(records[base + WORD_OPERAND_LO]):
        return BELOW_FLOOR, ZERO
    if entry == ZERO:
        entry = create_key(words, scratch, records, payloads, base, payload_at, hashed)
        if entry == ZERO:
            return FULL, ZERO
        if chained == CHAINED:
            record_undo(words, scratch, entry, CREATED)
    elif chained == CHAINED:
        record_undo(words, scratch, entry, CHANGED)
    words[entry + ENTRY_AMOUNT] = new
    words[entry + ENTRY_VERSION] = version
    return OK, new * EFFECT_MULTIPLIER


@inner
def put(
    words: Words,
    region: Bytes,
    scratch: Words,
    records: Words,
    payloads: Bytes,
    base: U64,
    payload_at: U64,
    hashed: U64,
    version: U64,
    chained: U64,
) -> tuple[U64, U64]:
    """PUT and CAS: the result, and the effect for the digest."""
    entry = find_key(words, region, records, payloads, base, payload_at, hashed)
    if operation_of(records, base) == CAS:
        current = words[entry + ENTRY_VERSION] if entry != ZERO else ZERO
        if current != records[base + WORD_OPERAND_LO]:
            return VERSION_MISMATCH, ZERO
    head = long_key_bytes(records, base)
    start = payload_at + head
    length = payload_length_of(records, base) - head
    value = ZERO
    if length != ZERO:
        value = store(words, payloads, start, length)
        if value == ZERO:
            return FULL, ZERO
    if entry == ZERO:
        entry = create_key(words, scratch, records, payloads, base, payload_at, hashed)
        if entry == ZERO:
            return FULL, ZERO
        words[entry + ENTRY_AMOUNT] = value
        words[entry + ENTRY_DETAIL] = length
        if chained == CHAINED:
            record_undo(words, scratch, entry, CREATED)
    else:
        if chained == CHAINED:
            record_undo(words, scratch, entry, CHANGED)
        else:
            release_value(words, words, entry)
        words[entry + ENTRY_AMOUNT] = value
        words[entry + ENTRY_DETAIL] = length
    words[entry + ENTRY_VERSION] = version
    return OK, bytes_digest(payloads, start, length) * EFFECT_MULTIPLIER


@inner
def delete(
    words: Words,
    region: Bytes,
    scratch: Words,
    records: Words,
    payloads: Bytes,
    base: U64,
    payload_at: U64,
    hashed: U64,
    chained: U64,
) -> U64:
    """DELETE."""
    entry = find_key(words, region, records, payloads, base, payload_at, hashed)
    if entry == ZERO:
        return KEY_NOT_FOUND
    if chained == CHAINED:
        record_undo(words, scratch, entry, DELETED)
    else:
        release_value(words, words, entry)
        release_key(words, words, entry)
    remove(words, entry)
    return OK


@inner
def execute(
    words: Words,
    region: Bytes,
    scratch: Words,
    records: Words,
    payloads: Bytes,
    base: U64,
    payload_at: U64,
    hashed: U64,
    version: U64,
    chained: U64,
) -> tuple[U64, U64]:
    """Applies one record: its result (or FULL, INVALID), and its effect for the digest.

    `base` is the record's first word, `payload_at` its payload's first byte, `version` its position + 1; where
    `chained` is CHAINED and not ALONE, changes are noted so that they can be taken back.
    """
    operation = operation_of(records, base)
    if operation == TRANSFER:
        return transfer(words, scratch, records, base, version, chained)
    if operation == APPEND:
        return OK, ZERO
    if operation == OPEN_ACCOUNT:
        return open_account(words, scratch, records, base, hashed, version, chained), ZERO
    if long_key_bytes(records, base) > payload_length_of(records, base):
        return INVALID, ZERO
    if operation in (PUT, CAS):
        return put(words, region, scratch, records, payloads, base, payload_at, hashed, version, chained)
    if operation == ADD:
        return add(words, region, scratch, records, payloads, base, payload_at, hashed, version, chained)
    if operation == DELETE:
        return delete(words, region, scratch, records, payloads, base, payload_at, hashed, chained), ZERO
    return INVALID, ZERO
