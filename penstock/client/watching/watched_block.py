"""A block of the log as a watcher gets it: columns, and its transactions decoded."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from penstock.client.watching.transactions import Transactions
from penstock.contract.record import RECORD
from penstock.v1.state_pb2 import WatchResponse


@dataclass(frozen=True, eq=False)
class WatchedBlock:
    """The n transactions of one block that passed the filters; the arrays are read-only views.

    A large block comes in parts, one after the other, each a WatchedBlock with the same ``log_index``.
    """

    log_index: int
    time_unix_nano: int
    """The leader's clock when the block was sealed."""
    positions: npt.NDArray[np.uint64]
    """uint64[n]: each transaction's number in the log."""
    records: npt.NDArray[np.void]
    """RECORD[n]"""
    payloads: bytes
    """Their payloads one after the other."""
    results: npt.NDArray[np.uint8]
    """uint8[n]: a ResultCode each, with DUPLICATE set on top where it had been applied before."""
    next_index: int
    """With ``next_position``, where a later watch goes on behind this block or part of one."""
    next_position: int

    @classmethod
    def of(cls, response: WatchResponse) -> "WatchedBlock":
        """The block that a node sent."""
        return cls(
            response.log_index,
            response.time_unix_nano,
            np.frombuffer(response.positions, np.uint64),
            np.frombuffer(response.records, RECORD),
            response.payloads,
            np.frombuffer(response.results, np.uint8),
            response.next_index or response.log_index + 1,
            response.next_position,
        )

    def transactions(self) -> Transactions:
        """Its transactions as typed values: a sequence whose items are decoded when they are taken.

        Columns cost nothing for each transaction; this costs a few microseconds for each one that is taken.
        """
        return self._transactions

    def payload(self, i: int) -> bytes:
        """The payload of the i-th transaction here: its key, where that is longer than 16 bytes, then its value."""
        end = int(self._payload_ends[i])
        return self.payloads[end - int(self.records["payload_length"][i]) : end]

    @cached_property
    def _transactions(self) -> Transactions:
        return Transactions(self.log_index, self.positions, self.records, self.payloads, self.results)

    @cached_property
    def _payload_ends(self) -> npt.NDArray[np.uint64]:
        return np.cumsum(self.records["payload_length"], dtype=np.uint64)
