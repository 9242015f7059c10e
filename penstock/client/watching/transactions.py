"""Transactions of a block, each decoded when it is asked for, and not before."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Final, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from penstock.client.operations import Operation
from penstock.client.results import Result, result_of
from penstock.client.submission import TransactionKey
from penstock.client.watching.decoding import Row, operation_of
from penstock.contract.flag import LINKED
from penstock.contract.frame_codec import Bytes

_AT_ONCE: Final = 256
"""Rows that are turned into Python's integers together: a fraction of the time that each by itself takes."""


class Transaction(NamedTuple):
    """A transaction as the log holds it."""

    operation: Operation
    """Equal to what was submitted: a Put, a Transfer, ... Match on it."""
    key: TransactionKey
    """Its client and sequence, under which it takes effect once."""
    result: Result
    """What it was answered; its ``position`` is the transaction's number in the log."""
    linked: bool
    """It takes effect together with the next one of its chain, or not at all."""

    @property
    def position(self) -> int:
        """Its number in the log, from 0."""
        return self.result.position


class Transactions(Sequence[Transaction]):
    """The n transactions of a block, or of a part of one: an immutable sequence that decodes what is taken from it.

    Args:
        log_index: the block that holds them.
        positions: uint64[n]: each one's number in the log.
        records: RECORD[n]
        payloads: their payloads one after the other.
        results: uint8[n]: a result code each, 0 where it is not known.
    """

    def __init__(
        self,
        log_index: int,
        positions: npt.NDArray[np.uint64],
        records: npt.NDArray[np.void],
        payloads: Bytes,
        results: npt.NDArray[np.uint8],
    ) -> None:
        assert len(positions) == len(records) == len(results)
        self._log_index = log_index
        self._positions = positions
        self._records = records
        self._payloads = memoryview(payloads)
        self._results = results

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, at: int) -> Transaction: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[Transaction]: ...

    def __getitem__(self, at: int | slice) -> Transaction | Sequence[Transaction]:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        i = range(len(self))[at]
        row = Row._make(self._records[i].item())
        return self._decoded(row, int(self._positions[i]), int(self._results[i]), int(self._payload_ends[i]))

    def __iter__(self) -> Iterator[Transaction]:
        end = 0
        for first in range(0, len(self), _AT_ONCE):
            part = slice(first, first + _AT_ONCE)
            rows = map(Row._make, self._records[part].tolist())
            for row, position, code in zip(
                rows, self._positions[part].tolist(), self._results[part].tolist(), strict=True
            ):
                end += row.payload_length
                yield self._decoded(row, position, code, end)

    def _decoded(self, row: Row, position: int, code: int, payload_end: int) -> Transaction:
        payload = bytes(self._payloads[payload_end - row.payload_length : payload_end])
        return Transaction(
            operation_of(row, payload),
            TransactionKey(row.client_id, row.sequence),
            result_of(code, self._log_index, position),
            bool(row.flags & LINKED),
        )

    @cached_property
    def _payload_ends(self) -> npt.NDArray[np.uint64]:
        return np.cumsum(self._records["payload_length"], dtype=np.uint64)
