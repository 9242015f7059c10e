"""Columns of transactions: an array of records, and their payloads."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from penstock.client.errors import InvalidOperation
from penstock.contract.frame_codec import Bytes
from penstock.contract.record import Words, as_words


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """The columns of n transactions, which ``submit_frame`` and ``submit_records`` take; ``+`` puts others behind them.

    Client ids and sequences are zero until they are submitted.
    """

    records: npt.NDArray[np.void]
    """RECORD[n], C-contiguous, and the caller's own: flags, for example, may be set in it."""
    payloads: bytes
    """Their payloads one after the other."""

    def __len__(self) -> int:
        return len(self.records)

    def __add__(self, other: "Columns") -> "Columns":
        return Columns(np.concatenate((self.records, other.records)), self.payloads + other.payloads)


Records = npt.NDArray[np.void] | Words | Columns
"""What a client submits: RECORD[n] or uint64[n, 8], C-contiguous, or columns that a builder made."""


def words_and_payloads(records: Records, payloads: Bytes) -> tuple[Words, Bytes]:
    """The uint64[n, 8] view of records, and their payloads, which columns bring with them.

    Raises:
        InvalidOperation: columns were given, and payloads besides.
        TypeError: the records are no array of records.
    """
    if not isinstance(records, Columns):
        return as_words(records), payloads
    if memoryview(payloads).nbytes:
        raise InvalidOperation("payloads were given besides columns, which have their own: give the columns alone")
    return as_words(records.records), records.payloads
