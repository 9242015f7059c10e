"""Layout of a transaction's record: 64 bytes, one cache line, eight little-endian 64-bit words.

The contract is ``protos/penstock/v1/record.proto``; a test holds the two together. Compiled code sees records as
``uint64[n, 8]`` and uses the ``WORD_*`` columns; numpy code uses :data:`RECORD`.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

RECORD_BYTES: Final = 64
RECORD_WORDS: Final = 8

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
"""One record; arrays of it and ``uint64[n, 8]`` are two views of the same bytes."""

WORD_CLIENT: Final = 0
WORD_SEQUENCE: Final = 1
WORD_KEY_LO: Final = 2
WORD_KEY_HI: Final = 3
WORD_OPERAND_LO: Final = 4
WORD_OPERAND_HI: Final = 5
WORD_AMOUNT: Final = 6
WORD_META: Final = 7
"""namespace | operation << 16 | flags << 24 | payload_length << 32"""

Words = npt.NDArray[np.uint64]


def as_words(records: npt.NDArray[np.void] | Words) -> Words:
    """The uint64[n, 8] view of a C-contiguous RECORD[n] or uint64[n, 8] array; copies nothing.

    Raises:
        TypeError: the array is neither.
    """
    if records.flags.c_contiguous:
        if records.dtype == RECORD and records.ndim == 1:
            return records.view(np.uint64).reshape(-1, RECORD_WORDS)
        if records.dtype == np.uint64 and records.ndim == 2 and records.shape[1] == RECORD_WORDS:
            return records.view(np.uint64)
    raise TypeError(
        f"records must be a C-contiguous RECORD[n] or uint64[n, {RECORD_WORDS}] array, "
        f"not {records.dtype}{list(records.shape)}"
    )
