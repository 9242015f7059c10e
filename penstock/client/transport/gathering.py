"""Transactions that gather for the next frame, in the order in which they were added."""

from collections.abc import Set

import numpy as np
import numpy.typing as npt

from penstock.client.session import Session
from penstock.client.transport.batch_frame import Waiter


class Gathering:
    """Records (ids still zero), payloads and waiters of the next frame.

    Sequences are given to all of them at once when the frame leaves, or earlier to all that are there, where somebody
    has to know one of them.
    """

    __slots__ = ("parts", "parts_at", "payload_bytes", "records", "sequences", "started_at", "waiters")

    def __init__(self, started_at: float = 0.0) -> None:
        self.started_at = started_at
        """When its first transaction was added, on the event loop's clock."""
        self.records: list[bytes] = []
        self.waiters: list[Waiter] = []
        self.parts: list[bytes] = []
        """The payloads that are not empty."""
        self.parts_at: list[int] = []
        """Of each part, the number of the record that it belongs to."""
        self.payload_bytes = 0
        self.sequences: list[int] = []
        """Of the first records, as many as have one."""

    def number(self, session: Session) -> None:
        """Give fresh sequences to those that have none."""
        count = len(self.records) - len(self.sequences)
        if count:
            first = session.take_sequences(count)
            self.sequences.extend(range(first, first + count))

    def take_sequences(self, session: Session) -> npt.NDArray[np.uint64]:
        """uint64[n], the sequences of all records; those that have none get fresh ones."""
        if self.sequences:
            self.number(session)
            return np.array(self.sequences, np.uint64)
        first = session.take_sequences(len(self.records))
        return np.arange(first, first + len(self.records), dtype=np.uint64)

    def withdraw(self, waiters: Set[Waiter]) -> None:
        """Take out the transactions of these waiters; chains have to be taken out whole."""
        kept = [i for i, waiter in enumerate(self.waiters) if waiter not in waiters]
        place = {i: at for at, i in enumerate(kept)}
        parts = [(part, place[i]) for part, i in zip(self.parts, self.parts_at, strict=True) if i in place]
        self.sequences = [self.sequences[i] for i in kept if i < len(self.sequences)]
        self.records = [self.records[i] for i in kept]
        self.waiters = [self.waiters[i] for i in kept]
        self.parts = [part for part, _ in parts]
        self.parts_at = [at for _, at in parts]
        self.payload_bytes = sum(map(len, self.parts))
