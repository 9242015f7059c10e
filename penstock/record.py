"""The 64-byte record of a transaction as numpy sees it, for programs that have columns already.

The contract is ``protos/penstock/v1/record.proto``; nothing is imported from the node's side, so that a program which
only submits stays light. A test holds the two definitions together.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

RECORD_BYTES: Final = 64
RECORD_WORDS: Final = 8
PAYLOAD_BYTES_MAX: Final = 1 << 20
FRAME_PAYLOAD_BYTES_MAX: Final = 4 << 20
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
"""One record; arrays of it and uint64[n, 8] are two views of the same bytes."""

WORD_CLIENT: Final = 0
WORD_SEQUENCE: Final = 1
LINKED: Final = 1
OVERDRAFT: Final = 2
FLOOR: Final = 4

Words = npt.NDArray[np.uint64]


def as_words(records: npt.NDArray[np.void] | Words) -> Words:
    """The uint64[n, 8] view of a C-contiguous RECORD[n] or uint64[n, 8] array; copies nothing.

    Raises TypeError where it is neither.
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
