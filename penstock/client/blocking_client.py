"""Blocking client: plain methods over an AsyncClient, whose event loop runs in a thread of its own."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import grpc

from penstock.client.arguments import seconds
from penstock.client.async_client import AsyncClient
from penstock.client.columns.columns import Records
from penstock.client.connection.connection import Listener
from penstock.client.connection.unclosed import warn_of
from penstock.client.errors import ClientClosed
from penstock.client.keys import Entry, Key
from penstock.client.operations import Operation
from penstock.client.options import BatchOptions, FlowOptions, RetryOptions
from penstock.client.process import runtime_support
from penstock.client.results import FrameReceipt, Result
from penstock.client.submission import AsyncSubmission, Submission
from penstock.client.watching.watched_block import WatchedBlock
from penstock.contract.frame_codec import Bytes
from penstock.contract.target import DEFAULT_TARGET
from penstock.v1.node_pb2 import GetStatusResponse

T = TypeVar("T")

LAST_WORDS_S: Final = 1.0
"""How long those who wait are given to take their answers and errors when a client closes: they need no time at all."""
UNCLOSED_S: Final = 1.0
"""How long a client that was not closed waits for answers."""


class Client:
    """A client of one node that blocks its caller; use it as ``with Client("127.0.0.1:50051") as client``.

    Any number of threads may share one, and their transactions share frames. Arguments, methods and
    errors are those of AsyncClient. ``on_connection`` and ``traceparent`` are called in the client's own thread.
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
    ) -> None:
        async def connect() -> AsyncClient:
            return AsyncClient(
                target,
                client_id=client_id,
                next_sequence=next_sequence,
                credentials=credentials,
                batch=batch,
                retry=retry,
                flow=flow,
                traceparent=traceparent,
                on_connection=on_connection,
            )

        runtime_support.check()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=_run, args=(self._loop,), name="penstock client", daemon=True)
        self._thread.start()
        self._closing_lock = threading.Lock()
        self._closed = False
        try:
            self._client = self._wait(connect())
        except BaseException:
            self._closed = True
            self._stop_loop()
            raise
        runtime_support.register(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def client_id(self) -> int:
        """Id of this client's idempotency session."""
        return self._client.client_id

    def close(self, *, timeout: float | None = None) -> None:
        """Wait for all answers, up to ``timeout`` seconds (by default the retry deadline), and disconnect.

        Closing again does nothing. Reads of other threads raise ClientClosed; watches end.
        """
        seconds(timeout, 1.0)
        with self._closing_lock:
            if self._closed:
                return
            self._closed = True
            closing = asyncio.run_coroutine_threadsafe(_shut_down(self._client, timeout), self._loop)
        try:
            closing.result()
        finally:  # on Ctrl-C, too
            self._stop_loop()
            runtime_support.unregister(self)

    def close_in_child(self) -> None:
        """Called by the client itself where its process was forked: it is closed in the child."""
        self._closing_lock = threading.Lock()  # another thread of the parent may have held it
        self._closed = True

    def _stop_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            warn_of(self)
            self._closed = True
            runtime_support.left_garbage()
            asyncio.run_coroutine_threadsafe(_end(self._client), self._loop)

    def close_at_exit(self) -> None:
        """Called by the client itself where the interpreter ends before it was closed."""
        warn_of(self)
        self.close(timeout=UNCLOSED_S)

    def transfer(
        self, debit: int, credit: int, amount: int, *, namespace: int = 0, timeout: float | None = None
    ) -> Result:
        """Move an amount from one account to another."""
        return self._wait(self._client.transfer(debit, credit, amount, namespace=namespace, timeout=timeout))

    def submit(self, operation: Operation, *, sequence: int | None = None, timeout: float | None = None) -> Result:
        """Submit one transaction."""
        return self._wait(self._client.submit(operation, sequence=sequence, timeout=timeout))

    def start(self, operation: Operation, *, sequence: int | None = None, timeout: float | None = None) -> Submission:
        """Submit one transaction without waiting for the answer; its key is known at once."""
        return Submission(
            self._wait(self._client.start(operation, sequence=sequence, timeout=timeout)), self._wait_for_result
        )

    def submit_chain(
        self, operations: Sequence[Operation], *, first_sequence: int | None = None, timeout: float | None = None
    ) -> list[Result]:
        """Submit transactions of which all take effect or none does."""
        return self._wait(self._client.submit_chain(operations, first_sequence=first_sequence, timeout=timeout))

    def submit_many(self, operations: Iterable[Operation], *, timeout: float | None = None) -> list[Result]:
        """Submit independent transactions as fast as possible: the fast way for a single thread."""
        return self._wait(self._client.submit_many(operations, timeout=timeout))

    def submit_frame(
        self, records: Records, payloads: Bytes = b"", *, stamp: bool = True, timeout: float | None = None
    ) -> FrameReceipt:
        """Submit up to 10,000 transactions, given as columns."""
        return self._wait(self._client.submit_frame(records, payloads, stamp=stamp, timeout=timeout))

    def submit_records(
        self, records: Records, payloads: Bytes = b"", *, stamp: bool = True, timeout: float | None = None
    ) -> list[FrameReceipt]:
        """Submit any number of transactions, given as columns."""
        return self._wait(self._client.submit_records(records, payloads, stamp=stamp, timeout=timeout))

    def get(self, key: bytes, *, namespace: int = 0, timeout: float | None = None) -> Entry:
        """Read a key's value."""
        return self._wait(self._client.get(key, namespace=namespace, timeout=timeout))

    def get_counter(self, key: bytes, *, namespace: int = 0, timeout: float | None = None) -> Entry:
        """Read a counter."""
        return self._wait(self._client.get_counter(key, namespace=namespace, timeout=timeout))

    def get_account(self, account: int, *, namespace: int = 0, timeout: float | None = None) -> Entry:
        """Read an account."""
        return self._wait(self._client.get_account(account, namespace=namespace, timeout=timeout))

    def read(self, key: Key, *, timeout: float | None = None) -> Entry:
        """Read one entry."""
        return self._wait(self._client.read(key, timeout=timeout))

    def read_many(self, keys: Sequence[Key], *, timeout: float | None = None) -> list[Entry]:
        """Read up to 10,000 entries, all as of one block."""
        return self._wait(self._client.read_many(keys, timeout=timeout))

    def watch(
        self,
        from_index: int = 0,
        *,
        from_position: int = 0,
        namespaces: Iterable[int] = (),
        operations: Iterable[type[Operation]] = (),
        effective_only: bool = False,
        timeout: float | None = None,
    ) -> Iterator[WatchedBlock]:
        """Yield committed blocks; the iterator blocks until there is one, and ends when the client is closed."""
        blocks = self._client.watch(
            from_index,
            from_position=from_position,
            namespaces=namespaces,
            operations=operations,
            effective_only=effective_only,
            timeout=timeout,
        )
        return self._blocks(blocks)

    def _blocks(self, blocks: AsyncGenerator[WatchedBlock, None]) -> Iterator[WatchedBlock]:
        turn = asyncio.Lock()
        with suppress(ClientClosed):
            try:
                while (block := self._wait(_next(blocks, turn))) is not None:
                    yield block
            finally:
                self._wait(_close(blocks, turn))

    def status(self, *, with_state_digest: bool = False, timeout: float | None = None) -> GetStatusResponse:
        """Ask for the node's status."""
        return self._wait(self._client.status(with_state_digest=with_state_digest, timeout=timeout))

    def _wait_for_result(self, submission: AsyncSubmission, timeout: float | None) -> Result:
        async def answer() -> Result:
            async with asyncio.timeout(None if timeout is None else seconds(timeout, 0.0)):
                return await submission

        return self._wait(answer())

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        with self._closing_lock:  # nothing may start on a loop that is about to stop
            if self._closed:
                work.close()
                raise ClientClosed(runtime_support.CLOSED)
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise ClientClosed("this client was closed meanwhile") from None
        except BaseException:
            future.cancel()  # a KeyboardInterrupt must not leave the work behind
            raise


async def _shut_down(client: AsyncClient, timeout: float | None) -> None:
    """Close a client, let all who wait for it learn what has become of what they wait for, and end what is left."""
    await client.close(timeout=timeout)
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others, timeout=LAST_WORDS_S)
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def _end(client: AsyncClient) -> None:
    """Close a client that nobody has any longer, and stop the loop that is its own."""
    try:
        await _shut_down(client, UNCLOSED_S)
    finally:
        asyncio.get_running_loop().stop()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()


async def _next(blocks: AsyncGenerator[WatchedBlock, None], turn: asyncio.Lock) -> WatchedBlock | None:
    async with turn:
        return await anext(blocks, None)


async def _close(blocks: AsyncGenerator[WatchedBlock, None], turn: asyncio.Lock) -> None:
    async with turn:  # a wait that Ctrl-C has cut is still being cancelled
        await blocks.aclose()
