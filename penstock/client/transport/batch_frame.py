"""Frame of transactions that were submitted one by one, each with a future for its own result."""

import asyncio
from collections.abc import Callable, Sequence

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
    """Has a waiter for each record. ``ended`` is called once, when all of them are done; ``bisect`` splits it."""

    __slots__ = ("_bisect", "_ended", "payloads", "records", "traceparent", "waiters")

    def __init__(
        self,
        frame_id: int,
        records: bytes | bytearray,
        payloads: bytes,
        waiters: Sequence[Waiter],
        *,
        traceparent: str,
        ended: Callable[[], None],
        bisect: Callable[["BatchFrame", int], None],
    ) -> None:
        client_id, first_sequence = np.frombuffer(records, np.uint64, 2).tolist()
        message = encode_frame(frame_id, records, payloads, traceparent)
        super().__init__(frame_id, client_id, first_sequence, len(waiters), message)
        assert len(records) == len(waiters) * RECORD_BYTES
        self.records = records
        self.payloads = payloads
        self.waiters = waiters
        self.traceparent = traceparent
        self._ended = ended
        self._bisect = bisect

    def complete(self, response: SubmitStreamResponse) -> None:
        """Give each waiter its result; a cancelled one has stopped waiting, but its transaction counts."""
        for waiter, result in zip(self.waiters, results_of(response), strict=True):
            if not waiter.done():
                waiter.set_result(result)
        self._ended()

    def refuse(self, error: PenstockError) -> None:
        """Fail a single transaction or chain, and bisect several: a bad transaction must not take others down."""
        middle = self._middle() if isinstance(error, InvalidRequest | NotPermitted) else 0
        if middle:
            self._bisect(self, middle)
        else:
            self.fail(error)

    def fail(self, error: PenstockError) -> None:
        """Give every waiter the error; where the outcome is unknown, with the ids of its own transaction."""
        for offset, waiter in enumerate(self.waiters):
            if not waiter.done():
                if isinstance(error, OutcomeUnknown):
                    error = OutcomeUnknown(self.client_id, self.first_sequence + offset, 1, error.cause)
                waiter.set_exception(error)
        self._ended()

    def _middle(self) -> int:
        """The number of records nearest to half that does not cut a chain; 0 where all are one chain."""
        flags = np.frombuffer(self.records, RECORD)["flags"]
        ends = np.flatnonzero((flags & LINKED) == 0) + 1
        return int(ends[(len(ends) - 2) // 2]) if len(ends) > 1 else 0
