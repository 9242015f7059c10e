"""Fingerprint of a transaction's content: what tells a transaction that is sent again from another one under its key.

It covers all of a record but client, sequence and the flag LINKED, and the payload. Two contents have the same 56 bits
by a chance of 2^-56; whoever looks for such a pair deceives nobody but themselves, so no secret is needed, and there
can be none: on every node the same transactions must have the same answers.
"""

from statestore.kernel.hashing import bytes_digest
from statestore.kernel.layout import ZERO
from statestore.kernel.record_fields import (
    FLAGS_SHIFT,
    LINKED,
    WORD_AMOUNT,
    WORD_KEY_HI,
    WORD_KEY_LO,
    WORD_META,
    WORD_OPERAND_HI,
    WORD_OPERAND_LO,
    payload_length_of,
)
from txqueue.jit.cpu import folded_multiply
from txqueue.jit.decorators import inner
from txqueue.jit.native_types import U64, Bytes, Words

# Odd, with nothing up the sleeve: the leading 64 bits of the fractional parts of the square roots of the first primes.
SALT_KEY_LO = U64(0x6A09E667F3BCC909)
SALT_KEY_HI = U64(0xBB67AE8584CAA73B)
SALT_OPERAND_LO = U64(0x3C6EF372FE94F82B)
SALT_OPERAND_HI = U64(0xA54FF53A5F1D36F1)
SALT_AMOUNT = U64(0x510E527FADE682D1)
SALT_META = U64(0x9B05688C2B3E6C1F)
SALT_PAYLOAD = U64(0x1F83D9ABFB41BD6B)
SALT_PAYLOADS = U64(0x5BE0CD19137E2179)
META_LINKED = LINKED << FLAGS_SHIFT
"""The place of a transaction in a chain is no part of its content: one that was the last may be sent again alone."""
RESULT_MASK = U64(0xFF)


@inner
def fingerprint(records: Words, payloads: Bytes, base: U64, payload_at: U64) -> U64:
    """Fingerprint of the record at word `base`, in the upper 56 bits; the lower 8 are 0 and leave room for a result."""
    content = folded_multiply(
        records[base + WORD_KEY_LO] ^ SALT_KEY_LO, records[base + WORD_OPERAND_LO] ^ SALT_OPERAND_LO
    ) ^ folded_multiply(
        records[base + WORD_AMOUNT] ^ SALT_AMOUNT, (records[base + WORD_META] | META_LINKED) ^ SALT_META
    )
    key_hi = records[base + WORD_KEY_HI]
    operand_hi = records[base + WORD_OPERAND_HI]
    if key_hi | operand_hi != ZERO:  # as in few records: a multiplication saved for the others
        content ^= folded_multiply(key_hi ^ SALT_KEY_HI, operand_hi ^ SALT_OPERAND_HI)
    length = payload_length_of(records, base)
    if length != ZERO:
        content ^= folded_multiply(bytes_digest(payloads, payload_at, length) ^ SALT_PAYLOAD, SALT_PAYLOADS)
    return content & ~RESULT_MASK
