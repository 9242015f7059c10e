"""The 64-byte record of a transaction: one cache line, eight little-endian 64-bit words.

The contract is ``protos/penstock/v1/record.proto``; the numbers here are its numbers, and a test holds the two
together. Compiled code sees records as ``uint64[n, 8]`` and uses the ``WORD_*`` columns; numpy code uses
:data:`RECORD`.
"""

from typing import Final

import numpy as np

RECORD_BYTES: Final = 64
RECORD_WORDS: Final = 8
BATCH_SIZE: Final = 10_000
"""Records that a frame or a block holds at most."""

PAYLOAD_BYTES_MAX: Final = 1 << 20
"""Payload of one transaction."""
FRAME_PAYLOAD_BYTES_MAX: Final = 4 << 20
"""Payloads of one frame together, and of one block."""
KEY_BYTES_MAX: Final = 1024
KEY_INLINE_BYTES_MAX: Final = 16

RECORD: Final = np.dtype(
    [
        ("client_id", "<u8"),
        ("sequence", "<u8"),
        ("key_lo", "<u8"),
        ("key_hi", "<u8"),
        ("operand_lo", "<u8"),
        ("operand_hi", "<u8"),
        ("amount", "<i8"),
        ("namespace", "<u2"),
        ("operation", "u1"),
        ("flags", "u1"),
        ("payload_length", "<u4"),
    ]
)

WORD_CLIENT: Final = 0
WORD_SEQUENCE: Final = 1
WORD_KEY_LO: Final = 2
WORD_KEY_HI: Final = 3
WORD_OPERAND_LO: Final = 4
WORD_OPERAND_HI: Final = 5
WORD_AMOUNT: Final = 6
WORD_META: Final = 7
"""namespace | operation << 16 | flags << 24 | payload_length << 32"""

APPEND: Final = 1
PUT: Final = 2
DELETE: Final = 3
CAS: Final = 4
ADD: Final = 5
TRANSFER: Final = 6
OPEN_ACCOUNT: Final = 7

LINKED: Final = 1
OVERDRAFT: Final = 2
FLOOR: Final = 4

OK: Final = 1
KEY_NOT_FOUND: Final = 2
VERSION_MISMATCH: Final = 3
OVERFLOW: Final = 4
BELOW_FLOOR: Final = 5
INSUFFICIENT_FUNDS: Final = 6
ACCOUNT_NOT_FOUND: Final = 7
SAME_ACCOUNT: Final = 8
ACCOUNT_EXISTS: Final = 9
LINKED_FAILED: Final = 10
SEQUENCE_EXPIRED: Final = 11
SESSIONS_EXHAUSTED: Final = 12
DUPLICATE: Final = 128
"""Set on top of a result code where the transaction had been applied before."""
