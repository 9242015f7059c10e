"""Frame of transactions that were submitted one by one, each with a future for its own result."""

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Sequence, Set

import numpy as np

from penstock.client.errors import InvalidRequest, NotPermitted, OutcomeUnknown, PenstockError
from penstock.client.results import Result, results_of
from penstock.client.transport.frame import Frame
from penstock.contract.flag import LINKED
from penstock.contract.frame_codec import encode_frame
from penstock.contract.record import RECORD, RECORD_BYTES
from penstock.v1.txqueue_pb2 import SubmitStreamResponse

Waiter = asyncio.Future[Result]


class BatchFrame(Frame):
    """Has a waiter for each record. ``ended`` is called once, when all of them are done; ``bisect`` splits it.

    ``parts`` are its payloads as they were added, ``parts_at`` the number of the record that each belongs to: what is
    split is what was added, whatever the records say.
    """

    __slots__ = ("_bisect", "_ended", "parts", "parts_at", "records", "timers", "traceparent", "waiters")

    def __init__(
        self,
        frame_id: int,
        records: bytes | bytearray,
        parts: Sequence[bytes],
        parts_at: Sequence[int],
        waiters: Sequence[Waiter],
        *,
        traceparent: str,
        ended: Callable[[], None],
        bisect: Callable[["BatchFrame", int], None],
    ) -> None:
        assert len(records) == len(waiters) * RECORD_BYTES
        client_id, first_sequence = np.frombuffer(records, np.uint64, 2).tolist()
        message = encode_frame(frame_id, records, b"".join(parts), traceparent)
        super().__init__(frame_id, client_id, first_sequence, len(waiters), message)
        self.records = records
        self.parts = parts
        self.parts_at = parts_at
        self.waiters = waiters
        self.traceparent = traceparent
        self.timers: Sequence[asyncio.TimerHandle] = ()
        """They give up some of the waiters, and are needless once all are done."""
        self._ended = ended
        self._bisect = bisect

    def split(self, middle: int) -> tuple["Piece", "Piece"]:
        """What the two frames hold into which this one is split before record ``middle``."""
        cut = bisect_left(self.parts_at, middle)
        at = middle * RECORD_BYTES
        head = Piece(self.records[:at], self.parts[:cut], self.parts_at[:cut], self.waiters[:middle])
        shifted = [i - middle for i in self.parts_at[cut:]]
        return head, Piece(self.records[at:], self.parts[cut:], shifted, self.waiters[middle:])

    def complete(self, response: SubmitStreamResponse) -> None:
        """Give each waiter its result; a cancelled one has stopped waiting, but its transaction counts."""
        for waiter, result in zip(self.waiters, results_of(response), strict=True):
            if not waiter.done():
                waiter.set_result(result)
        self._end()

    def refuse(self, error: PenstockError) -> None:
        """Fail a single transaction or chain, and bisect several: a bad transaction must not take others down."""
        middle = self._middle() if isinstance(error, InvalidRequest | NotPermitted) else 0
        if middle:
            self._bisect(self, middle)
        else:
            self.fail(error)

    def fail(self, error: PenstockError) -> None:
        """Give every waiter the error; where the outcome is unknown, with the ids of its own transaction."""
        self._give(error)
        self._end()

    def give_up(self, waiters: Set[Waiter], cause: str) -> None:
        """Tell some of the waiters that their time is over, while the frame itself goes on."""
        self._give(OutcomeUnknown(self.client_id, self.first_sequence, self.count, cause), waiters)

    def _give(self, error: PenstockError, only: Set[Waiter] | None = None) -> None:
        sequences = np.frombuffer(self.records, RECORD)["sequence"].tolist()
        for i, waiter in enumerate(self.waiters):
            if waiter.done() or (only is not None and waiter not in only):
                continue
            if isinstance(error, OutcomeUnknown):
                waiter.set_exception(OutcomeUnknown(self.client_id, sequences[i], 1, error.cause))
            else:
                waiter.set_exception(error)

    def _end(self) -> None:
        for timer in self.timers:
            timer.cancel()
        self._ended()

    def _middle(self) -> int:
        """The number of records nearest to half that does not cut a chain; 0 where all are one chain."""
        flags = np.frombuffer(self.records, RECORD)["flags"]
        ends = np.flatnonzero((flags & LINKED) == 0) + 1
        return int(ends[(len(ends) - 2) // 2]) if len(ends) > 1 else 0


class Piece:
    """What a frame is made of: stamped records, payloads with their records' numbers, and waiters."""

    __slots__ = ("parts", "parts_at", "records", "waiters")

    def __init__(
        self,
        records: bytes | bytearray,
        parts: Sequence[bytes],
        parts_at: Sequence[int],
        waiters: Sequence[Waiter],
    ) -> None:
        self.records = records
        self.parts = parts
        self.parts_at = parts_at
        self.waiters = waiters
