"""Client for asyncio programs."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from random import Random
from types import TracebackType
from typing import Self

import grpc

from penstock.client.columns.columns import Records, words_and_payloads
from penstock.client.errors import ClientClosed, InvalidOperation, PenstockError
from penstock.client.keys import READ_KEYS_MAX, AccountKey, CounterKey, Entry, Key, ValueKey
from penstock.client.operations import Operation, encode_chain, transfer_record
from penstock.client.options import BatchOptions, FlowOptions, RetryOptions
from penstock.client.results import FrameReceipt, Result
from penstock.client.session import Session
from penstock.client.transport.batch_frame import Waiter
from penstock.client.transport.batcher import Batcher
from penstock.client.transport.bulk_frame import BulkFrame, check_size, frame_slices
from penstock.client.transport.bulk_frame import stamp as write_ids
from penstock.client.transport.channel import open_channel
from penstock.client.transport.flow_window import FlowWindow
from penstock.client.transport.submit_stream import SubmitStream
from penstock.client.transport.unary_retry import call_with_retries
from penstock.client.watch import WatchedBlock, watch
from penstock.contract.frame_codec import Bytes
from penstock.contract.target import DEFAULT_TARGET
from penstock.v1.node_pb2 import GetStatusRequest, GetStatusResponse
from penstock.v1.node_pb2_grpc import NodeServiceStub
from penstock.v1.state_pb2 import BatchReadRequest, ReadRequest, WatchRequest
from penstock.v1.state_pb2_grpc import StateServiceStub


class AsyncClient:
    """A client of one node, for one event loop; use it as ``async with AsyncClient("127.0.0.1:50051") as client``.

    Make it inside a running event loop.

    Args:
        target: ``host:port``, ``[ipv6]:port``, ``dns:///host:port`` or ``unix:path``; the port is 50051 where it
            names none. Proxies of the environment are used for other machines alone.
        client_id: names the idempotency session; random by default, which suits most programs.
        next_sequence: goes with a ``client_id`` that a program keeps across runs, and must be larger than all that it
            used before: a sequence that was used gets the answer it got then, and does nothing.
        credentials: of an encrypted connection; without them the connection is not encrypted.
        batch: how single transactions become frames.
        retry: for how long, and with which waits, the client retries.
        flow: bounds on what is in flight.
        traceparent: called once for each frame; returns the W3C trace context to link the frame to, or "".
        random: draws the waits between retries; a seeded one makes them reproducible.

    Raises:
        InvalidOperation: ``target`` names no node, ``client_id`` or ``next_sequence`` is out of range, or one comes
            without the other.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        client_id: int | None = None,
        next_sequence: int | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        batch: BatchOptions | None = None,
        retry: RetryOptions | None = None,
        flow: FlowOptions | None = None,
        traceparent: Callable[[], str] = str,
        random: Random | None = None,
    ) -> None:
        self._retry = retry = retry or RetryOptions()
        self._session = Session(client_id, next_sequence)
        self._window = FlowWindow(flow or FlowOptions())
        self._channel = open_channel(target, credentials, retry)
        self._random = random or Random()
        self._stream = SubmitStream(self._channel, retry, self._window, self._random)
        self._traceparent = traceparent
        self._batcher = Batcher(batch or BatchOptions(), self._session, self._window, self._stream, traceparent)
        self._state = StateServiceStub(self._channel)
        self._node = NodeServiceStub(self._channel)
        self._closed = False

    @property
    def client_id(self) -> int:
        """Id of this client's idempotency session."""
        return self._session.client_id

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Wait for all answers, up to the retry deadline, and disconnect; later submissions raise ClientClosed."""
        self._closed = True
        await self._batcher.close()
        await self._stream.close()
        await self._channel.close()

    @property
    def in_flight(self) -> tuple[int, int]:
        """Frames and transactions that are sent and not answered yet."""
        return self._window.frames, self._window.transactions

    async def transfer(self, debit: int, credit: int, amount: int, *, namespace: int = 0) -> Result:
        """Move ``amount`` from one account to another: ``submit`` of a Transfer, and a little faster."""
        record = transfer_record(debit, credit, amount, namespace)
        if not self._batcher.has_room():
            await self._batcher.wait_for_room(1, 0)
        return await self._batcher.add(record)

    async def submit(self, operation: Operation, *, sequence: int | None = None) -> Result:
        """Submit one transaction and return its result, which may be a rejection.

        Give ``sequence`` only to submit again what ended in OutcomeUnknown, with the sequence that it names: the
        answer is then the first submission's. Cancelling gives up the answer, not the transaction.

        Raises:
            InvalidOperation: no node would take it; nothing was sent.
            Refused: the node refused it; nothing took effect.
            OutcomeUnknown: no answer came in time.
            ClientClosed: the client was closed.
        """
        record, payload = operation.encode()
        if sequence is not None:
            return (await self._submit_alone([record], payload, sequence))[0]
        if not self._batcher.has_room(1, len(payload)):
            await self._batcher.wait_for_room(1, len(payload))
        return await self._batcher.add(record, payload)

    async def submit_chain(self, operations: Sequence[Operation], *, first_sequence: int | None = None) -> list[Result]:
        """Submit transactions of which all take effect or none does; the result of the one that failed says why.

        ``first_sequence`` is for submitting again, as in ``submit``.

        Raises:
            InvalidOperation: no node would take it; nothing was sent.
            Refused: the node refused it; nothing took effect.
            OutcomeUnknown: no answer came in time.
            ClientClosed: the client was closed.
        """
        records, payload = encode_chain(operations)
        if first_sequence is not None or len(records) > self._batcher.size_max:
            return await self._submit_alone(records, payload, first_sequence)
        if not self._batcher.has_room(len(records), len(payload)):
            await self._batcher.wait_for_room(len(records), len(payload))
        last = len(records) - 1
        waiters = [self._batcher.add(record, payload if i == last else b"") for i, record in enumerate(records)]
        return await _all_of(waiters)

    async def submit_frame(self, records: Records, payloads: Bytes = b"", *, stamp: bool = True) -> FrameReceipt:
        """Submit 1 to 10,000 transactions, given as columns, and return their receipt.

        ``records`` is RECORD[n] or uint64[n, 8], C-contiguous, and ``payloads`` holds their payloads one after the
        other; or ``records`` are columns of `penstock.transfers` and its like, which bring their payloads.
        With ``stamp``, the client's id and fresh sequences are written into ``records`` (in place); without, they hold
        the caller's. The array is copied when there is room in flight, and may be reused once the receipt is there.
        Waits while the bounds of FlowOptions are reached.

        Raises:
            InvalidOperation: no node would take it; nothing was sent.
            Refused: the node refused it; nothing took effect.
            OutcomeUnknown: no answer came in time.
            ClientClosed: the client was closed.
        """
        words, payloads = words_and_payloads(records, payloads)
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
        """Submit independent transactions as fast as possible, and return their results in order.

        Raises:
            InvalidOperation: no node would take one of them; nothing was sent.
            PenstockError: the first error of any, raised when all have been answered or given up.
        """
        waiters = []
        for record, payload in [operation.encode() for operation in operations]:
            if not self._batcher.has_room(1, len(payload)):
                await self._batcher.wait_for_room(1, len(payload))
            waiters.append(self._batcher.add(record, payload))
        return await _all_of(waiters)

    async def submit_records(
        self, records: Records, payloads: Bytes = b"", *, stamp: bool = True
    ) -> list[FrameReceipt]:
        """``submit_frame`` for any number of transactions: split into frames between chains, all in flight at once.

        Raises:
            InvalidOperation: a chain or a payload is larger than a frame; nothing was sent.
            PenstockError: as ``submit_frame``, for the first frame that failed.
        """
        words, payloads = words_and_payloads(records, payloads)
        payload_bytes = memoryview(payloads).cast("B")
        slices = list(frame_slices(words))
        frames = [self.submit_frame(words[rows], payload_bytes[part], stamp=stamp) for rows, part in slices]
        return await asyncio.gather(*frames)

    async def get(self, key: bytes, *, namespace: int = 0) -> Entry:
        """Read a key's value."""
        return await self.read(ValueKey(key, namespace))

    async def get_counter(self, key: bytes, *, namespace: int = 0) -> Entry:
        """Read a counter."""
        return await self.read(CounterKey(key, namespace))

    async def get_account(self, account: int, *, namespace: int = 0) -> Entry:
        """Read an account."""
        return await self.read(AccountKey(account, namespace))

    async def read(self, key: Key) -> Entry:
        """Read one entry; it reflects every transaction that this client has been answered.

        Raises:
            InvalidOperation: no node would take the key.
            Refused: the node refused it, or none answered before the deadline.
            ClientClosed: the client was closed.
        """
        self._check_open()
        response = await call_with_retries(self._state.Read, ReadRequest(key=key.message()), self._retry, self._random)
        return Entry.of(response.entry, response.log_index)

    async def read_many(self, keys: Sequence[Key]) -> list[Entry]:
        """Read up to 10,000 entries, all as of one block, in the order of the keys.

        Raises:
            InvalidOperation: there are too many keys, or no node would take one of them.
            Refused: the node refused it, or none answered before the deadline.
            ClientClosed: the client was closed.
        """
        self._check_open()
        if len(keys) > READ_KEYS_MAX:
            raise InvalidOperation(f"one read takes up to {READ_KEYS_MAX} keys, not {len(keys)}")
        request = BatchReadRequest(keys=[key.message() for key in keys])
        response = await call_with_retries(self._state.BatchRead, request, self._retry, self._random)
        return [Entry.of(entry, response.log_index) for entry in response.entries]

    def watch(
        self,
        from_index: int = 0,
        *,
        namespaces: Iterable[int] = (),
        operations: Iterable[type[Operation]] = (),
        effective_only: bool = False,
    ) -> AsyncGenerator[WatchedBlock, None]:
        """Yield committed blocks from ``from_index`` on (0: the oldest that the log holds), and new ones without end.

        Only transactions of the given namespaces and operations, if any; with ``effective_only``, only those that took
        effect. Blocks without any are left out. Reconnects by itself where the connection breaks.

        Raises:
            BlockGone: the log no longer holds ``from_index``.
            Refused: the node refused it, or no attempt got anywhere before the deadline.
            ClientClosed: the client was closed.
        """
        self._check_open()
        request = WatchRequest(
            from_index=from_index,
            namespaces=namespaces,
            operations=[operation.number for operation in operations],
            effective_only=effective_only,
        )
        return watch(self._state, request, self._retry, self._random)

    async def status(self, *, with_state_digest: bool = False) -> GetStatusResponse:
        """Ask for the node's status. A digest of the whole state takes time in proportion to the state.

        Raises:
            Refused: the node refused it, or none answered before the deadline.
            ClientClosed: the client was closed.
        """
        self._check_open()
        request = GetStatusRequest(with_state_digest=with_state_digest)
        return await call_with_retries(self._node.GetStatus, request, self._retry, self._random)

    async def _submit_alone(self, records: list[bytes], payloads: bytes, first_sequence: int | None) -> list[Result]:
        self._check_open()
        return await _all_of(await self._batcher.send_alone(records, payloads, first_sequence))

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosed("this client is closed")


async def _all_of(waiters: list[Waiter]) -> list[Result]:
    """All results; the first error, if any, is raised when every waiter is done.

    They are awaited one after the other, because awaiting one that is done costs next to nothing: the task wakes once
    for each frame.
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
