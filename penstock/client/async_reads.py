"""Reads of a client: entries, the node's status, and the log as it grows."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterable, Sequence
from random import Random
from typing import TYPE_CHECKING

from penstock.client.arguments import boolean, integer, namespace_number, seconds, several
from penstock.client.connection.connection import Connection
from penstock.client.errors import InvalidOperation
from penstock.client.keys import READ_KEYS_MAX, AccountKey, CounterKey, Entry, Key, ValueKey, key_message
from penstock.client.operations import Operation
from penstock.client.options import RetryOptions
from penstock.client.transport.unary_retry import Method, Request, Response, call_with_retries
from penstock.client.watching.watch import watch
from penstock.client.watching.watched_block import WatchedBlock
from penstock.v1.node_pb2 import GetStatusRequest, GetStatusResponse
from penstock.v1.state_pb2 import BatchReadRequest, ReadRequest, WatchRequest

if TYPE_CHECKING:  # names of the stubs' types alone
    from penstock.v1.node_pb2_grpc import NodeServiceAsyncStub
    from penstock.v1.state_pb2_grpc import StateServiceAsyncStub


class AsyncReads(ABC):
    """The part of AsyncClient that changes nothing."""

    _retry: RetryOptions
    _random: Random
    _connection: Connection
    _state: "StateServiceAsyncStub"
    _node: "NodeServiceAsyncStub"

    @abstractmethod
    def _check_open(self) -> None:
        """Check that calls may be made.

        Raises:
            ClientClosed: they may not.
        """

    async def get(self, key: bytes, *, namespace: int = 0, timeout: float | None = None) -> Entry:
        """Read a key's value."""
        return await self.read(ValueKey(key, namespace), timeout=timeout)

    async def get_counter(self, key: bytes, *, namespace: int = 0, timeout: float | None = None) -> Entry:
        """Read a counter."""
        return await self.read(CounterKey(key, namespace), timeout=timeout)

    async def get_account(self, account: int, *, namespace: int = 0, timeout: float | None = None) -> Entry:
        """Read an account."""
        return await self.read(AccountKey(account, namespace), timeout=timeout)

    async def read(self, key: Key, *, timeout: float | None = None) -> Entry:
        """Read one entry; it reflects every transaction that this client has been answered.

        Raises:
            InvalidOperation: no node would take the key.
            Refused: the node refused it, or none answered before the deadline.
            ClientClosed: the client was closed.
        """
        self._check_open()
        request = ReadRequest(key=key_message(key))
        response = await self._call(self._state.Read, request, timeout)
        return Entry.of(response.entry, response.log_index)

    async def read_many(self, keys: Sequence[Key], *, timeout: float | None = None) -> list[Entry]:
        """Read up to 10,000 entries, all as of one block, in the order of the keys.

        Raises:
            InvalidOperation: there are too many keys, or no node would take one of them.
            Refused: the node refused it, or none answered before the deadline.
            ClientClosed: the client was closed.
        """
        self._check_open()
        keys = several(keys, "keys")
        if len(keys) > READ_KEYS_MAX:
            raise InvalidOperation(f"one read takes up to {READ_KEYS_MAX} keys, not {len(keys)}")
        request = BatchReadRequest(keys=[key_message(key) for key in keys])
        response = await self._call(self._state.BatchRead, request, timeout)
        return [Entry.of(entry, response.log_index) for entry in response.entries]

    def watch(
        self,
        from_index: int = 0,
        *,
        from_position: int = 0,
        namespaces: Iterable[int] = (),
        operations: Iterable[type[Operation]] = (),
        effective_only: bool = False,
        timeout: float | None = None,
    ) -> AsyncGenerator[WatchedBlock, None]:
        """Yield committed blocks from ``from_index`` on (0: the oldest that the log holds), and new ones without end.

        Only transactions of the given namespaces and operations, if any; with ``effective_only``, only those that took
        effect. Blocks without any are left out. To go on where an earlier watch ended, give the ``next_index`` and
        ``next_position`` of its last block. Goes on by itself after an outage, however long; with ``timeout``, the
        wait for a next block takes so many seconds at most.

        Raises:
            InvalidOperation: an argument is none that a node would take.
            BlockGone: the log no longer holds ``from_index``.
            Refused: the node refused it, or no block came in time.
            ClientClosed: the client was closed.
        """
        self._check_open()
        kinds = several(operations, "operations")
        for kind in kinds:
            if not (isinstance(kind, type) and issubclass(kind, Operation)):
                raise InvalidOperation(f"operations must be classes of operations such as Put, not {kind!r:.80}")
        request = WatchRequest(
            from_index=integer(from_index, "from_index", 0, (1 << 64) - 1),
            from_position=integer(from_position, "from_position", 0, (1 << 64) - 1),
            with_progress=True,
            namespaces=[namespace_number(each, "namespaces") for each in several(namespaces, "namespaces")],
            operations=[kind.number for kind in kinds],
            effective_only=boolean(effective_only, "effective_only"),
        )
        timeout_s = None if timeout is None else seconds(timeout, 0.0)
        return watch(self._state, request, self._retry, self._random, self._connection, timeout_s)

    async def status(self, *, with_state_digest: bool = False, timeout: float | None = None) -> GetStatusResponse:
        """Ask for the node's status. A digest of the whole state takes time in proportion to the state.

        Raises:
            Refused: the node refused it, or none answered before the deadline.
            ClientClosed: the client was closed.
        """
        self._check_open()
        request = GetStatusRequest(with_state_digest=boolean(with_state_digest, "with_state_digest"))
        return await self._call(self._node.GetStatus, request, timeout)

    async def _call(self, method: Method[Request, Response], request: Request, timeout: float | None) -> Response:
        timeout_s = seconds(timeout, self._retry.deadline_s)
        return await call_with_retries(method, request, self._retry, self._random, self._connection, timeout_s)
