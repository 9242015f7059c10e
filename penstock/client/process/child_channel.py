"""Channel of a forked child whose parent had clients open: gRPC's protocol without gRPC's library.

gRPC lives in threads and locks that a fork leaves behind, and it cannot be begun anew in the same process while
anything of the parent's is there. grpclib speaks the same protocol in plain Python on the child's own event loop. It
has no encryption here, since gRPC's credentials are objects of gRPC's library.

What a `grpc.aio.Channel` does for a client is done here in the same way: same calls, same errors.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, Generic, TypeVar

import grpc
from grpc import aio
from grpclib.client import Channel, Stream
from grpclib.config import Configuration
from grpclib.const import Cardinality
from grpclib.encoding.base import CodecBase, StatusDetailsCodecBase
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError
from h2.exceptions import ProtocolError as Http2Error

from penstock.contract.target import Target

Response = TypeVar("Response")
Serialize = Callable[[Any], bytes]
Deserialize = Callable[[bytes], Response]

_STATUS_DETAILS: Final = "grpc-status-details-bin"
_STATUS: Final = {code.value[0]: code for code in grpc.StatusCode}
_KEEPALIVE_S: Final = 10.0
_KEEPALIVE_TIMEOUT_S: Final = 5.0
_WINDOW_BYTES: Final = 16 << 20
_UNREAD_MAX: Final = 16
"""Messages that have arrived and are not taken yet; the node waits with the next ones."""
_BROKEN: Final = (OSError, StreamTerminatedError, ProtocolError, Http2Error, AttributeError, AssertionError)
"""What grpclib raises on a connection that is no longer there; it takes away the transport under its own methods."""


class ChildChannel:
    """A connection to one node for one event loop, opened when first used and again where it broke."""

    def __init__(self, target: Target) -> None:
        place = target.place
        address = {"path": place} if isinstance(place, str) else {"host": place[0], "port": place[1]}
        self._channel = Channel(
            **address,
            codec=_AsItIs(),
            status_details_codec=_DetailsAsTheyAre(),
            config=Configuration(
                _keepalive_time=_KEEPALIVE_S,
                _keepalive_timeout=_KEEPALIVE_TIMEOUT_S,
                _http2_max_pings_without_data=0,
                _http2_min_sent_ping_interval_without_data=_KEEPALIVE_S,
                http2_connection_window_size=_WINDOW_BYTES,
                http2_stream_window_size=_WINDOW_BYTES,
            ),
        )
        self._running: set[asyncio.Task[Any]] = set()

    def unary_unary(
        self,
        method: str,
        request_serializer: Serialize,
        response_deserializer: Callable[[bytes], Response],
        **_: object,
    ) -> "_UnaryMethod[Response]":
        """See `aio.Channel`."""
        return _UnaryMethod(self, method, request_serializer, response_deserializer)

    def unary_stream(
        self,
        method: str,
        request_serializer: Serialize,
        response_deserializer: Callable[[bytes], Response],
        **_: object,
    ) -> Callable[[Any], "_Call[Response]"]:
        """See `aio.Channel`."""
        return lambda request: _Call(
            self, method, Cardinality.UNARY_STREAM, request_serializer(request), response_deserializer
        )

    def stream_stream(
        self, method: str, request_serializer: None, response_deserializer: Deserialize[Response], **_: object
    ) -> Callable[[], "_Call[Response]"]:
        """See `aio.Channel`; messages are bytes."""
        assert request_serializer is None
        return lambda: _Call(self, method, Cardinality.STREAM_STREAM, None, response_deserializer)

    async def close(self) -> None:
        """Cancel all calls and disconnect."""
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._channel.close()

    def open(self, method: str, cardinality: Cardinality, timeout: float | None = None) -> "Stream[bytes, bytes]":
        """A call that has yet to be begun."""
        return self._channel.request(method, cardinality, bytes, bytes, timeout=timeout)

    def run(self, work: Awaitable[Response]) -> "asyncio.Task[Response]":
        """Do some work that ends when the channel is closed."""
        task = asyncio.ensure_future(work)
        assert isinstance(task, asyncio.Task)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task


class _UnaryMethod(Generic[Response]):
    def __init__(
        self,
        channel: ChildChannel,
        method: str,
        serialize: Serialize,
        deserialize: Deserialize[Response],
    ) -> None:
        self._channel, self._method = channel, method
        self._serialize, self._deserialize = serialize, deserialize

    def __call__(self, request: Any, *, timeout: float | None = None) -> "asyncio.Task[Response]":
        return self._channel.run(self._answer(self._serialize(request), timeout))

    async def _answer(self, request: bytes, timeout: float | None) -> Response:
        try:
            async with self._channel.open(self._method, Cardinality.UNARY_UNARY, timeout) as stream:
                await stream.send_message(request, end=True)
                answer = await stream.recv_message()
        except Exception as error:
            raise _rpc_error(error) from error
        if answer is None:
            raise _rpc_error(StreamTerminatedError("the call ended without an answer"))
        return self._deserialize(answer)


class _Call(Generic[Response]):
    """A call with a stream of answers, and of requests unless there is a single one."""

    def __init__(
        self,
        channel: ChildChannel,
        method: str,
        cardinality: Cardinality,
        request: bytes | None,
        deserialize: Deserialize[Response],
    ) -> None:
        self._stream = channel.open(method, cardinality)
        self._request = request
        self._deserialize = deserialize
        self._opened = asyncio.Event()
        self._error: aio.AioRpcError | None = None
        self._answers: asyncio.Queue[bytes | None] = asyncio.Queue(_UNREAD_MAX)
        self._pump = channel.run(self._run())

    async def wait_for_connection(self) -> None:
        """Return once the node is reached.

        Raises:
            AioRpcError: it is not.
        """
        await self._opened.wait()
        if self._error is not None:
            raise self._error

    async def write(self, message: bytes) -> None:
        """Send a message.

        Raises:
            InvalidStateError: the call has ended; reading says why.
        """
        try:
            await self._stream.send_message(message)
        except _BROKEN as error:
            raise asyncio.InvalidStateError(str(error)) from error

    async def done_writing(self) -> None:
        """Send no more.

        Raises:
            InvalidStateError: the call has ended; reading says why.
        """
        try:
            await self._stream.end()
        except _BROKEN as error:
            raise asyncio.InvalidStateError(str(error)) from error

    def cancel(self) -> bool:
        """End the call."""
        return self._pump.cancel()

    def cancelled(self) -> bool:
        """Whether the call was cancelled, by closing the channel, too."""
        return self._pump.cancelled()

    async def __aiter__(self) -> AsyncIterator[Response]:
        while (answer := await self._next()) is not None:
            yield self._deserialize(answer)
        if self._error is not None:
            raise self._error

    async def _next(self) -> bytes | None:
        """The next answer; None behind the last one.

        Raises:
            CancelledError: the call was cancelled.
        """
        if not self._answers.empty():
            return self._answers.get_nowait()
        taking = asyncio.ensure_future(self._answers.get())
        try:
            await asyncio.wait((taking, self._pump), return_when=asyncio.FIRST_COMPLETED)
            if not taking.done() and self._pump.cancelled():
                raise asyncio.CancelledError
            return await taking
        finally:
            taking.cancel()

    async def _run(self) -> None:
        try:
            async with self._stream as stream:
                if self._request is None:
                    await stream.send_request()
                else:
                    await stream.send_message(self._request, end=True)
                self._opened.set()
                while (answer := await stream.recv_message()) is not None:
                    await self._answers.put(answer)
                raise _Ended  # noqa: TRY301 - `Stream` looks for the status when it is left in this way
        except _Ended:
            pass
        except Exception as error:
            self._error = _rpc_error(error)
        finally:
            self._opened.set()
        await self._answers.put(None)


class _Ended(StreamTerminatedError):
    """The node has ended the call; its status is yet to be looked at."""


class _AsItIs(CodecBase):
    """Messages are bytes already."""

    __content_subtype__ = "proto"

    def encode(self, message: bytes, message_type: object) -> bytes:  # noqa: ARG002 - as the base class has it
        return message

    def decode(self, data: bytes, message_type: object) -> bytes:  # noqa: ARG002 - likewise
        return data


class _DetailsAsTheyAre(StatusDetailsCodecBase):
    """So are the details of a status."""

    def encode(self, status: object, message: object, details: bytes) -> bytes:  # noqa: ARG002 - likewise
        return details

    def decode(self, status: object, message: object, data: bytes) -> bytes:  # noqa: ARG002 - likewise
        return data


def _rpc_error(error: Exception) -> aio.AioRpcError:
    """The error that `grpc.aio` would raise."""
    metadata = aio.Metadata()
    if isinstance(error, GRPCError):
        code = _STATUS.get(error.status.value, grpc.StatusCode.UNKNOWN)
        if isinstance(error.details, bytes):
            metadata.add(_STATUS_DETAILS, error.details)
        text = error.message or code.name
    elif isinstance(error, TimeoutError):
        code, text = grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"
    elif isinstance(error, _BROKEN):
        code, text = grpc.StatusCode.UNAVAILABLE, f"no connection: {error}"
    else:
        code, text = grpc.StatusCode.INTERNAL, repr(error)
    return aio.AioRpcError(code, aio.Metadata(), metadata, text)
