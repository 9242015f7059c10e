"""Fields of a record, read from the words of a block at the record's first word `base`."""

from penstock.contract import flag, opcode, record
from statestore.kernel.hashing import key_hash, long_key_hash
from statestore.kernel.kernel_types import Hash, InlineKey
from statestore.kernel.layout import (
    ACCOUNT_IDENTITY,
    IDENTITY_LENGTH_SHIFT,
    IDENTITY_NAMESPACE_SHIFT,
    KEY_INLINE_BYTES,
    KIND_COUNTER,
    KIND_VALUE,
    ZERO,
)
from txqueue.jit.decorators import inner
from txqueue.jit.native_types import U64, Bytes, Words

APPEND = U64(opcode.APPEND)
PUT = U64(opcode.PUT)
DELETE = U64(opcode.DELETE)
CAS = U64(opcode.CAS)
ADD = U64(opcode.ADD)
TRANSFER = U64(opcode.TRANSFER)
OPEN_ACCOUNT = U64(opcode.OPEN_ACCOUNT)
END_SESSION = U64(opcode.END_SESSION)
SET_SESSION_BOUNDS = U64(opcode.SET_SESSION_BOUNDS)
LINKED = U64(flag.LINKED)
OVERDRAFT = U64(flag.OVERDRAFT)
FLOOR = U64(flag.FLOOR)

RECORD_WORDS = U64(record.RECORD_WORDS)
WORD_CLIENT = U64(record.WORD_CLIENT)
WORD_SEQUENCE = U64(record.WORD_SEQUENCE)
WORD_KEY_LO = U64(record.WORD_KEY_LO)
WORD_KEY_HI = U64(record.WORD_KEY_HI)
WORD_OPERAND_LO = U64(record.WORD_OPERAND_LO)
WORD_OPERAND_HI = U64(record.WORD_OPERAND_HI)
WORD_AMOUNT = U64(record.WORD_AMOUNT)
WORD_META = U64(record.WORD_META)

NAMESPACE_MASK = U64(0xFFFF)
OPERATION_SHIFT = U64(16)
OPERATION_MASK = U64(0xFF)
FLAGS_SHIFT = U64(24)
FLAGS_MASK = U64(0xFF)
PAYLOAD_SHIFT = U64(32)
KEY_LENGTH_MASK = U64(0xFFFF)


@inner
def operation_of(records: Words, base: U64) -> U64:
    """The operation."""
    return (records[base + WORD_META] >> OPERATION_SHIFT) & OPERATION_MASK


@inner
def flags_of(records: Words, base: U64) -> U64:
    """The flags."""
    return (records[base + WORD_META] >> FLAGS_SHIFT) & FLAGS_MASK


@inner
def payload_length_of(records: Words, base: U64) -> U64:
    """Bytes of payload."""
    return records[base + WORD_META] >> PAYLOAD_SHIFT


@inner
def account_identity(records: Words, base: U64) -> U64:
    """The identity word of the accounts in a record's namespace."""
    return ACCOUNT_IDENTITY | (records[base + WORD_META] & NAMESPACE_MASK) << IDENTITY_NAMESPACE_SHIFT


@inner
def key_identity(records: Words, base: U64) -> U64:
    """The identity word of a record's key: of the debit account for a TRANSFER."""
    operation = operation_of(records, base)
    if operation >= TRANSFER:  # also of those that have no key
        return account_identity(records, base)
    kind = KIND_COUNTER if operation == ADD else KIND_VALUE
    length = records[base + WORD_OPERAND_HI] & KEY_LENGTH_MASK
    return (
        kind
        | (records[base + WORD_META] & NAMESPACE_MASK) << IDENTITY_NAMESPACE_SHIFT
        | length << IDENTITY_LENGTH_SHIFT
    )


@inner
def long_key_bytes(records: Words, base: U64) -> U64:
    """Bytes of the payload that are the key: 0 where it stands in the record. For PUT, DELETE, CAS and ADD."""
    length = records[base + WORD_OPERAND_HI] & KEY_LENGTH_MASK
    return length if length > KEY_INLINE_BYTES else ZERO


@inner
def inline_key(records: Words, base: U64) -> InlineKey:
    """The key of up to 16 bytes of a record that is not an APPEND; of a TRANSFER the debit account's."""
    return InlineKey(records[base + WORD_KEY_LO], records[base + WORD_KEY_HI], key_identity(records, base))


@inner
def debit_key(records: Words, base: U64) -> InlineKey:
    """Key of a TRANSFER's debit account: `inline_key` without what only other operations need."""
    return InlineKey(records[base + WORD_KEY_LO], records[base + WORD_KEY_HI], account_identity(records, base))


@inner
def credit_key(records: Words, base: U64) -> InlineKey:
    """Key of a TRANSFER's credit account."""
    return InlineKey(records[base + WORD_OPERAND_LO], records[base + WORD_OPERAND_HI], account_identity(records, base))


@inner
def hash_of_key(words: Words, records: Words, payloads: Bytes, base: U64, payload_at: U64) -> Hash:
    """Hash of the key of a record that is not an APPEND; its payload must lie within `payloads`.

    0 where the key overruns the payload: such a record is INVALID.
    """
    key = inline_key(records, base)
    length = key.identity >> IDENTITY_LENGTH_SHIFT
    if length <= KEY_INLINE_BYTES:
        return key_hash(words, key)
    if length > payload_length_of(records, base):
        return Hash(ZERO)
    return key_hash(words, InlineKey(long_key_hash(words, payloads, payload_at, length), ZERO, key.identity))
