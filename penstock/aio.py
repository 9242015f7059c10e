"""The asyncio client."""

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import grpc
import numpy as np
import numpy.typing as npt

from penstock.batch import Waiter
from penstock.batcher import Batcher
from penstock.bulk import BulkFrame, check_size
from penstock.bulk import stamp as write_ids
from penstock.channel import open_channel
from penstock.errors import ClientClosed
from penstock.frame import Bytes
from penstock.operations import Operation, encode_chain, transfer_record
from penstock.options import BatchOptions, FlowOptions, RetryOptions
from penstock.record import Words, as_words
from penstock.results import FrameReceipt, Result
from penstock.session import Session
from penstock.stream import SubmitStream
from penstock.window import Window


class AsyncClient:
    """A client of one node, for one event loop; use it as ``async with AsyncClient("127.0.0.1:50051") as client``.

    Make it inside a running event loop. ``target`` is ``host:port`` or ``unix:path``. ``client_id`` names the
    idempotency session and is random unless given; no two running programs may share one. ``traceparent`` is asked
    once per frame for the W3C trace context to link the frame to ("" for none).
    """

    def __init__(
        self,
        target: str = "127.0.0.1:50051",
        *,
        client_id: int | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        batch: BatchOptions | None = None,
        retry: RetryOptions | None = None,
        flow: FlowOptions | None = None,
        traceparent: Callable[[], str] = str,
    ) -> None:
        retry = retry or RetryOptions()
        self._session = Session(client_id)
        self._window = Window(flow or FlowOptions())
        self._channel = open_channel(target, credentials, retry)
        self._stream = SubmitStream(self._channel, retry)
        self._traceparent = traceparent
        self._batcher = Batcher(batch or BatchOptions(), self._session, self._window, self._stream, traceparent)
        self._closed = False

    @property
    def client_id(self) -> int:
        """Names this client's idempotency session."""
        return self._session.client_id

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Waits for all answers (up to the retry deadline), then disconnects. Further submissions raise
        ClientClosed."""
        self._closed = True
        await self._batcher.close()
        await self._stream.close()
        await self._channel.close()

    @property
    def in_flight(self) -> tuple[int, int]:
        """Frames and transactions that are travelling unanswered."""
        return self._window.frames, self._window.transactions

    async def transfer(self, debit: int, credit: int, amount: int, *, namespace: int = 0) -> Result:
        """Moves ``amount`` from one account to another; the same as submitting a Transfer, and a little faster."""
        record = transfer_record(debit, credit, amount, namespace)
        if not self._batcher.has_place():
            await self._batcher.place(1, 0)
        return await self._batcher.add(record)

    async def submit(self, operation: Operation, *, sequence: int | None = None) -> Result:
        """Submits one transaction and returns its result, which may be a rejection.

        Give ``sequence`` only to submit again what ended in OutcomeUnknown, with the sequence that it names: the
        answer is then the first submission's. Raises InvalidOperation, a Refused, or OutcomeUnknown. Cancelling gives
        up the answer, not the transaction.
        """
        record, payload = operation.encode()
        if sequence is not None:
            return (await self._submit_apart([record], payload, sequence))[0]
        if not self._batcher.has_place(1, len(payload)):
            await self._batcher.place(1, len(payload))
        return await self._batcher.add(record, payload)

    async def submit_chain(self, operations: Sequence[Operation], *, first_sequence: int | None = None) -> list[Result]:
        """Submits transactions of which all take effect or none does; the one that failed says why, in its result.

        ``first_sequence`` is for submitting again, as in ``submit``.
        """
        records, payload = encode_chain(operations)
        if first_sequence is not None or len(records) > self._batcher.size_max:
            return await self._submit_apart(records, payload, first_sequence)
        if not self._batcher.has_place(len(records), len(payload)):
            await self._batcher.place(len(records), len(payload))
        last = len(records) - 1
        waiters = [self._batcher.add(record, payload if i == last else b"") for i, record in enumerate(records)]
        return await _all_of(waiters)

    async def submit_frame(
        self, records: npt.NDArray[np.void] | Words, payloads: Bytes = b"", *, stamp: bool = True
    ) -> FrameReceipt:
        """Submits 1 to 10,000 transactions as they stand in columns, and returns their receipt.

        ``records`` is RECORD[n] or uint64[n, 8], C-contiguous; ``payloads`` holds their payloads one after the other.
        With ``stamp``, the client's id and fresh sequences are written into ``records`` (in place); without, they hold
        the caller's. The array is copied when there is room in flight, and may be reused once the receipt is there.

        Waits while the bounds of FlowOptions are reached. Raises InvalidOperation, a Refused, or OutcomeUnknown.
        """
        words = as_words(records)
        check_size(words, payloads)
        count = len(words)
        await self._window.wait_and_enter(count)
        try:
            self._check_open()
            if stamp:
                write_ids(words, self._session.client_id, self._session.take_sequences(count))
            frame = BulkFrame(self._session.take_frame_id(), words, payloads, self._traceparent())
            self._stream.send(frame)
            return await frame.receipt
        finally:
            self._window.leave(count)

    async def _submit_apart(self, records: list[bytes], payloads: bytes, first_sequence: int | None) -> list[Result]:
        self._check_open()
        return await _all_of(await self._batcher.send_apart(records, payloads, first_sequence))

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosed("this client is closed")


async def _all_of(waiters: list[Waiter]) -> list[Result]:
    """The results of waiters that one receipt answers together."""
    await asyncio.wait(waiters)
    errors = [error for error in map(Waiter.exception, waiters) if error is not None]
    if errors:
        raise errors[0]
    return [waiter.result() for waiter in waiters]
