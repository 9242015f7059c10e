"""The asyncio client."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from types import TracebackType
from typing import Self

import grpc
import numpy as np
import numpy.typing as npt

from penstock.client.errors import ClientClosed, InvalidOperation, PenstockError
from penstock.client.keys import READ_KEYS_MAX, AccountKey, CounterKey, Entry, Key, ValueKey
from penstock.client.operations import Operation, encode_chain, transfer_record
from penstock.client.options import BatchOptions, FlowOptions, RetryOptions
from penstock.client.results import FrameReceipt, Result
from penstock.client.session import Session
from penstock.client.transport.batch_frame import Waiter
from penstock.client.transport.batcher import Batcher
from penstock.client.transport.bulk_frame import BulkFrame, check_size, cuts
from penstock.client.transport.bulk_frame import stamp as write_ids
from penstock.client.transport.channel import open_channel
from penstock.client.transport.flow_window import Window
from penstock.client.transport.submit_stream import SubmitStream
from penstock.client.transport.unary_retry import call
from penstock.client.watch import WatchedBlock, watch
from penstock.contract.frame_codec import Bytes
from penstock.contract.record import Words, as_words
from penstock.v1.node_pb2 import GetStatusRequest, GetStatusResponse
from penstock.v1.node_pb2_grpc import NodeServiceStub
from penstock.v1.state_pb2 import BatchReadRequest, ReadRequest, WatchRequest
from penstock.v1.state_pb2_grpc import StateServiceStub


class AsyncClient:
    """A client of one node, for one event loop; use it as ``async with AsyncClient("127.0.0.1:50051") as client``.

    Make it inside a running event loop. ``target`` is ``host:port`` or ``unix:path``. ``client_id`` names the
    idempotency session: left out it is random, which is right for most. A program that keeps its own across runs gives
    ``next_sequence`` with it, larger than any it used before: a sequence that was used is answered as it was then, and
    does nothing. ``traceparent`` is asked once per frame for the W3C trace context to link the frame to ("" for none).
    """

    def __init__(
        self,
        target: str = "127.0.0.1:50051",
        *,
        client_id: int | None = None,
        next_sequence: int | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        batch: BatchOptions | None = None,
        retry: RetryOptions | None = None,
        flow: FlowOptions | None = None,
        traceparent: Callable[[], str] = str,
    ) -> None:
        self._retry = retry = retry or RetryOptions()
        self._session = Session(client_id, next_sequence)
        self._window = Window(flow or FlowOptions())
        self._channel = open_channel(target, credentials, retry)
        self._stream = SubmitStream(self._channel, retry, self._window)
        self._traceparent = traceparent
        self._batcher = Batcher(batch or BatchOptions(), self._session, self._window, self._stream, traceparent)
        self._state = StateServiceStub(self._channel)
        self._node = NodeServiceStub(self._channel)
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
            frame.fresh = stamp
        except BaseException:
            self._window.leave(count)
            raise
        self._stream.send(frame)
        return await frame.receipt

    async def submit_many(self, operations: Iterable[Operation]) -> list[Result]:
        """Submits independent transactions as fast as they can go, and returns their results in order.

        Raises InvalidOperation before anything is sent, or the first other error, if any, when all have been answered
        or given up.
        """
        waiters = []
        for record, payload in [operation.encode() for operation in operations]:
            if not self._batcher.has_place(1, len(payload)):
                await self._batcher.place(1, len(payload))
            waiters.append(self._batcher.add(record, payload))
        return await _all_of(waiters)

    async def submit_records(
        self, records: npt.NDArray[np.void] | Words, payloads: Bytes = b"", *, stamp: bool = True
    ) -> list[FrameReceipt]:
        """``submit_frame`` for any number of transactions: cut into frames, between chains, all on their way at
        once."""
        words, payload_bytes = as_words(records), memoryview(payloads).cast("B")
        frames = [self.submit_frame(words[rows], payload_bytes[part], stamp=stamp) for rows, part in list(cuts(words))]
        return await asyncio.gather(*frames)

    async def get(self, key: bytes, *, namespace: int = 0) -> Entry:
        """Reads a key's value."""
        return await self.read(ValueKey(key, namespace))

    async def get_counter(self, key: bytes, *, namespace: int = 0) -> Entry:
        """Reads a counter."""
        return await self.read(CounterKey(key, namespace))

    async def get_account(self, account: int, *, namespace: int = 0) -> Entry:
        """Reads an account."""
        return await self.read(AccountKey(account, namespace))

    async def read(self, key: Key) -> Entry:
        """Reads one entry; it reflects every transaction that this client has been answered. Raises a Refused."""
        self._check_open()
        response = await call(self._state.Read, ReadRequest(key=key.message()), self._retry)
        return Entry.of(response.entry, response.log_index)

    async def read_many(self, keys: Sequence[Key]) -> list[Entry]:
        """Reads up to 10,000 entries, all as of one block, in the order of the keys. Raises a Refused."""
        self._check_open()
        if len(keys) > READ_KEYS_MAX:
            raise InvalidOperation(f"one read takes up to {READ_KEYS_MAX} keys, not {len(keys)}")
        request = BatchReadRequest(keys=[key.message() for key in keys])
        response = await call(self._state.BatchRead, request, self._retry)
        return [Entry.of(entry, response.log_index) for entry in response.entries]

    def watch(
        self,
        from_index: int = 0,
        *,
        namespaces: Iterable[int] = (),
        operations: Iterable[type[Operation]] = (),
        effective_only: bool = False,
    ) -> AsyncGenerator[WatchedBlock, None]:
        """Yields committed blocks from ``from_index`` on (0: the oldest that the log holds), then as they come,
        without end.

        Only transactions of the namespaces and operations given, if any; with ``effective_only``, only those that took
        effect. Blocks without any are left out. Goes on by itself after a broken connection. Raises a Refused, for
        example BlockGone.
        """
        self._check_open()
        request = WatchRequest(
            from_index=from_index,
            namespaces=namespaces,
            operations=[operation.number for operation in operations],
            effective_only=effective_only,
        )
        return watch(self._state, request, self._retry)

    async def status(self, *, with_state_digest: bool = False) -> GetStatusResponse:
        """Asks how the node is doing. The digest of the whole state takes time in proportion to it. Raises a
        Refused."""
        self._check_open()
        return await call(self._node.GetStatus, GetStatusRequest(with_state_digest=with_state_digest), self._retry)

    async def _submit_apart(self, records: list[bytes], payloads: bytes, first_sequence: int | None) -> list[Result]:
        self._check_open()
        return await _all_of(await self._batcher.send_apart(records, payloads, first_sequence))

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosed("this client is closed")


async def _all_of(waiters: list[Waiter]) -> list[Result]:
    """All results; the first error, if any, is raised when every waiter has been told.

    One after the other, because waiting for one that is done already costs next to nothing: a task wakes once per
    frame.
    """
    results: list[Result] = []
    first_error: PenstockError | None = None
    for waiter in waiters:
        try:
            results.append(await waiter)
        except PenstockError as error:
            first_error = first_error or error
    if first_error is not None:
        raise first_error
    return results
