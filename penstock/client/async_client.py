"""Client for asyncio programs."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from random import Random
from types import TracebackType
from typing import Self

import grpc

from penstock.client.arguments import SEQUENCE_MAX, integer, seconds, several
from penstock.client.async_reads import AsyncReads
from penstock.client.bulk_sender import BulkSender
from penstock.client.columns.columns import Records
from penstock.client.connection.connection import Connection, Listener
from penstock.client.connection.unclosed import abandon, warn_of
from penstock.client.errors import ClientClosed, PenstockError
from penstock.client.operations import Operation, encode, encode_chain, transfer_record
from penstock.client.options import BatchOptions, FlowOptions, RetryOptions
from penstock.client.process import runtime_support
from penstock.client.results import FrameReceipt, Result
from penstock.client.session import Session
from penstock.client.submission import AsyncSubmission, TransactionKey
from penstock.client.transport.batch_frame import Waiter
from penstock.client.transport.batcher import Batcher
from penstock.client.transport.bulk_frame import (
    check_size,
    checked_columns,
)
from penstock.client.transport.channel import open_channel
from penstock.client.transport.flow_window import FlowWindow
from penstock.client.transport.submit_stream import SubmitStream
from penstock.client.transport.trace_context import TraceContext
from penstock.contract.frame_codec import Bytes
from penstock.contract.target import DEFAULT_TARGET
from penstock.v1.node_pb2_grpc import NodeServiceStub
from penstock.v1.state_pb2_grpc import StateServiceStub


class AsyncClient(AsyncReads):
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
        on_connection: called on the event loop with each ConnectionEvent (connected, lost, retrying, reconnected,
            closed); it must not block. The same is logged under ``penstock.client``.
        random: draws the waits between retries; a seeded one makes them reproducible.

    Raises:
        InvalidOperation: ``target`` names no node, ``client_id`` or ``next_sequence`` is out of range, or one comes
            without the other.
        UnsupportedRuntime: no client can run in this process, under gevent; or no encrypted one, in a forked child
            whose parent had clients open.
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
        on_connection: Listener | None = None,
        random: Random | None = None,
    ) -> None:
        runtime_support.check()
        self._retry = retry = retry or RetryOptions()
        self._session = Session(client_id, next_sequence)
        self._window = FlowWindow(flow or FlowOptions())
        self._channel = open_channel(target, credentials, retry)
        self._random = random or Random()
        self._loop = asyncio.get_running_loop()
        self._connection = Connection(target, on_connection, self._loop.time)
        self._stream = SubmitStream(self._channel, retry, self._window, self._random, self._connection)
        self._traceparent = TraceContext(traceparent)
        self._batcher = Batcher(
            batch or BatchOptions(), self._session, self._window, self._stream, self._traceparent, retry.deadline_s
        )
        self._bulk = BulkSender(self._session, self._window, self._stream, self._traceparent, retry.deadline_s)
        self._state = StateServiceStub(self._channel)
        self._node = NodeServiceStub(self._channel)
        self._closed = False
        runtime_support.register(self)

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

    async def close(self, *, timeout: float | None = None) -> None:
        """Wait for all answers, up to ``timeout`` seconds (by default the retry deadline), and disconnect.

        Where all was answered, a session whose id was drawn is ended, which takes a second at most. What is
        not answered by then ends in OutcomeUnknown, what was not sent in ClientClosed, and so do later calls.
        Closing again does nothing.
        """
        deadline = self._deadline(timeout)
        if self._closed:
            return
        self._closed = True
        self._bulk.close()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await self._batcher.close()
                    await self._stream.wait_until_idle()
            self._batcher.abandon()
            await self._bulk.end_session()
            self._connection.closed()
            await self._stream.close()
        finally:  # cancelled, too
            self._connection.closed()
            self._batcher.abandon()
            self._stream.abandon()
            await self._channel.close()
            self._stream.forget_channel()
            del self._channel, self._state, self._node  # gRPC ends with the last of them
            runtime_support.unregister(self)

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            warn_of(self)
            self._closed = True
            abandon(self._loop, self._stream, self._channel)

    def close_at_exit(self) -> None:
        """Called by the client itself where the interpreter ends before it was closed."""
        warn_of(self)
        self._closed = True

    def close_in_child(self) -> None:
        """Called by the client itself where its process was forked: it is closed in the child."""
        self._closed = True
        self._bulk.close()
        self._batcher.close_in_child()

    @property
    def in_flight(self) -> tuple[int, int]:
        """Frames and transactions that are sent and not answered yet."""
        return self._window.frames, self._window.transactions

    async def transfer(
        self, debit: int, credit: int, amount: int, *, namespace: int = 0, timeout: float | None = None
    ) -> Result:
        """Move ``amount`` from one account to another: ``submit`` of a Transfer, and a little faster."""
        record = transfer_record(debit, credit, amount, namespace)
        if timeout is None and self._batcher.has_room():
            return await self._batcher.add(record)
        return (await self._submit([record], b"", None, timeout))[0]

    async def submit(
        self, operation: Operation, *, sequence: int | None = None, timeout: float | None = None
    ) -> Result:
        """Submit one transaction and return its result, which may be a rejection.

        Give ``sequence`` only to submit again what ended in OutcomeUnknown, with the sequence that it names: the
        answer is then the first submission's. Cancelling gives up the answer, not the transaction; ``start`` tells
        its key beforehand. The wait, for a place among those in flight and for the answer, takes ``timeout`` seconds at
        most, the deadline of RetryOptions by default.

        Raises:
            InvalidOperation: no node would take it; nothing was sent.
            Refused: the node refused it, or it was not sent in time; nothing took effect.
            OutcomeUnknown: no answer came in time.
            ClientClosed: the client was closed.
        """
        record, payload = encode(operation)
        if sequence is None and timeout is None and self._batcher.has_room(1, len(payload)):
            return await self._batcher.add(record, payload)
        return (await self._submit([record], payload, sequence, timeout))[0]

    async def start(
        self, operation: Operation, *, sequence: int | None = None, timeout: float | None = None
    ) -> AsyncSubmission:
        """``submit`` without waiting for the answer: returns when the transaction has a key and a place.

        Raises:
            InvalidOperation: no node would take it; nothing was sent.
            Unavailable: there was no place in time; nothing took effect.
            ClientClosed: the client was closed.
        """
        record, payload = encode(operation)
        deadline = self._deadline(timeout)
        if sequence is None:
            await self._batcher.wait_for_room(1, len(payload), deadline)
            waiter = self._batcher.add(record, payload, deadline)
            sequence = self._batcher.sequence_of_newest(waiter)
        else:
            sequence = integer(sequence, "sequence", 1, SEQUENCE_MAX)
            waiter = (await self._batcher.send_alone([record], payload, sequence, deadline))[0]
        timer = self._batcher.give_up_at(deadline, (waiter,))
        waiter.add_done_callback(lambda _: timer.cancel())
        return AsyncSubmission(TransactionKey(self.client_id, sequence), waiter)

    async def submit_chain(
        self, operations: Sequence[Operation], *, first_sequence: int | None = None, timeout: float | None = None
    ) -> list[Result]:
        """Submit transactions of which all take effect or none does; the result of the one that failed says why.

        ``first_sequence`` is for submitting again, and ``timeout`` the longest wait, as in ``submit``.

        Raises:
            InvalidOperation: no node would take it; nothing was sent.
            Refused: the node refused it, or it was not sent in time; nothing took effect.
            OutcomeUnknown: no answer came in time.
            ClientClosed: the client was closed.
        """
        records, payload = encode_chain(operations)
        return await self._submit(records, payload, first_sequence, timeout, name="first_sequence")

    async def submit_frame(
        self, records: Records, payloads: Bytes = b"", *, stamp: bool = True, timeout: float | None = None
    ) -> FrameReceipt:
        """Submit 1 to 10,000 transactions, given as columns, and return their receipt.

        ``records`` is RECORD[n] or uint64[n, 8], C-contiguous, and ``payloads`` holds their payloads one after the
        other; or ``records`` are columns of `penstock.transfers` and its like, which bring their payloads.
        With ``stamp``, the client's id and fresh sequences are written into ``records`` (in place); without, they hold
        the caller's. The array is copied when there is room in flight, and may be reused once the receipt is there.
        Waits while the bounds of FlowOptions are reached; that wait and the one for the receipt take ``timeout``
        seconds at most, the deadline of RetryOptions by default.

        Raises:
            InvalidOperation: no node would take it; nothing was sent.
            Refused: the node refused it, or it was not sent in time; nothing took effect.
            OutcomeUnknown: no answer came in time.
            ClientClosed: the client was closed.
        """
        words, payloads = checked_columns(records, payloads, stamp=stamp)
        check_size(words, payloads)
        return await (await self._bulk.send(words, payloads, self._deadline(timeout), stamp=stamp))

    async def submit_many(self, operations: Iterable[Operation], *, timeout: float | None = None) -> list[Result]:
        """Submit independent transactions as fast as possible, and return their results in order.

        Each has the deadline of RetryOptions; with ``timeout``, all of them together have so many seconds.

        Raises:
            InvalidOperation: no node would take one of them; nothing was sent.
            PenstockError: the first error of any, raised when all have been answered or given up. To know the outcome
                of each, ``start`` them one by one.
        """
        encoded = [encode(operation) for operation in several(operations, "operations")]
        whole = 0.0 if timeout is None else self._deadline(timeout)
        waiters: list[Waiter] = []
        timer = self._batcher.give_up_at(whole, waiters) if whole else None
        try:
            for record, payload in encoded:
                if not self._batcher.has_room(1, len(payload)):
                    try:
                        await self._batcher.wait_for_room(1, len(payload), whole or self._deadline(None))
                    except PenstockError:
                        await _all_of(waiters)  # its error came first, if there is one
                        raise
                waiters.append(self._batcher.add(record, payload, whole))
            return await _all_of(waiters)
        finally:
            if timer is not None:
                timer.cancel()

    async def submit_records(
        self, records: Records, payloads: Bytes = b"", *, stamp: bool = True, timeout: float | None = None
    ) -> list[FrameReceipt]:
        """``submit_frame`` for any number of transactions: split into frames between chains, all in flight at once.

        Each frame has the deadline of RetryOptions; with ``timeout``, all of them together have so many seconds.

        Raises:
            InvalidOperation: a chain or a payload is larger than a frame, or the payloads are not as long as the
                records say; nothing was sent.
            PenstockError: as ``submit_frame``, for the first frame that failed, when all have been answered or given
                up. Frames behind one that found no place are not sent.
        """
        words, payloads = checked_columns(records, payloads, stamp=stamp)
        whole = None if timeout is None else self._deadline(timeout)
        return await self._bulk.send_all(words, payloads, whole, stamp=stamp)

    async def _submit(
        self,
        records: list[bytes],
        payloads: bytes,
        first_sequence: int | None,
        timeout: float | None,
        name: str = "sequence",
    ) -> list[Result]:
        """Submit one transaction or one chain, with the deadline that it has from now."""
        deadline, count = self._deadline(timeout), len(records)
        if first_sequence is not None:
            first_sequence = integer(first_sequence, name, 1, SEQUENCE_MAX - count + 1)
        if first_sequence is not None or count > self._batcher.size_max:
            waiters = await self._batcher.send_alone(records, payloads, first_sequence, deadline)
        else:
            await self._batcher.wait_for_room(count, len(payloads), deadline)
            waiters = self._batcher.add_chain(records, payloads, deadline)
        timer = self._batcher.give_up_at(deadline, waiters)
        try:
            return await _all_of(waiters)
        finally:
            timer.cancel()

    def _deadline(self, timeout: float | None) -> float:
        return self._loop.time() + seconds(timeout, self._retry.deadline_s)

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosed(runtime_support.CLOSED)


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
