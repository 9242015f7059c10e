"""Arriving messages: calls that wait for their client's next message, which the node may hold half of.

gRPC receives a message whole before it shows any of it, and does not say how much of one is there. A client that sends
all but the last byte makes the node hold that much for as long as the call lives, on each of its calls. So all calls
that wait are known here, in the order in which they began to: whoever sends what it began is never long among them.

Envoy ends calls in the same way where its memory runs short (docs: "overload manager", reset of streams).
"""

import asyncio
import inspect
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
import grpc.aio

from penstock.contract.reasons import Reason
from services.refusal import Refusal
from services.rpc.handlers import ServiceHandler
from services.rpc.rich_status import Context, abort

REQUEST_S_MAX: Final = 30.0
"""Seconds that a call has for its request. At 6 MiB, the largest, that is 200 kB/s."""


class MessageCut(Exception):
    """The call is to end without the message that it waited for."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal: Final = refusal


class _Wait:
    """One call's wait for a message, by the task that waits."""

    __slots__ = ("cut_by", "since_s", "task")

    def __init__(self, since_s: float) -> None:
        self.since_s = since_s
        self.task = asyncio.current_task()
        self.cut_by: Refusal | None = None


class ArrivingMessages:
    """The calls of one server that wait for messages. Lives in the event loop.

    Requests are told apart from the messages of streams, which may pause for as long as they like.
    """

    def __init__(self) -> None:
        # Dictionaries for their order: who has waited longest comes first.
        self._requests: dict[_Wait, None] = {}
        self._streams: dict[_Wait, None] = {}

    def __len__(self) -> int:
        return len(self._requests) + len(self._streams)

    async def read_request(self, context: Context) -> Any:
        """Read a call's request; `grpc.aio.EOF` where the client ended without one.

        Raises:
            MessageCut: the call has to end.
        """
        return await self._read(context, self._requests)

    async def read_of_stream(self, context: Context) -> Any:
        """Read a stream's next message; `grpc.aio.EOF` at its end.

        Raises:
            MessageCut: the call has to end.
        """
        return await self._read(context, self._streams)

    def cut_late_requests(self, refusal: Refusal) -> int:
        """End the calls whose requests have not come in time; returns how many."""
        begun_by_s = asyncio.get_running_loop().time() - REQUEST_S_MAX
        late = 0
        for wait in list(self._requests):
            if wait.since_s > begun_by_s:
                break
            late += self._cut(wait, refusal)
        return late

    def cut(self, calls: int, refusal: Refusal) -> int:
        """End up to so many ``calls``, those first that have waited longest, requests before streams; returns how many.

        A call's request follows at its heels, and a stream may be idle and hold nothing.
        """
        cut = 0
        for wait in (*self._requests, *self._streams):
            if cut >= calls:
                break
            cut += self._cut(wait, refusal)
        return cut

    def _cut(self, wait: _Wait, refusal: Refusal) -> bool:
        if wait.cut_by is not None:
            return False  # its task has not run since
        assert wait.task is not None
        wait.cut_by = refusal
        wait.task.cancel()
        return True

    async def _read(self, context: Context, waits: dict[_Wait, None]) -> Any:
        wait = _Wait(asyncio.get_running_loop().time())
        waits[wait] = None
        try:
            return await context.read()
        except asyncio.CancelledError:
            if wait.cut_by is None:
                raise
            assert wait.task is not None
            if wait.task.uncancel():  # somebody else ends this call, too
                raise
            raise MessageCut(wait.cut_by) from None
        finally:
            del waits[wait]


def watched(service: ServiceHandler, arriving: ArrivingMessages) -> ServiceHandler:
    """Give a service whose methods' requests are read here: grpc.aio would read them where nobody can end the call.

    Methods that take a stream of requests read it themselves. All handlers are coroutines or asynchronous generators.
    """
    return ServiceHandler(
        service.service_name(),
        {name.rpartition("/")[2]: _watched_method(method, arriving) for name, method in service.methods.items()},
    )


def _watched_method(
    method: "grpc.RpcMethodHandler[Any, Any]", arriving: ArrivingMessages
) -> "grpc.RpcMethodHandler[Any, Any]":
    coders = (method.request_deserializer, method.response_serializer)
    if method.request_streaming:
        return method
    if not method.response_streaming:
        answer = method.unary_unary
        assert inspect.iscoroutinefunction(answer)

        async def handle_unary(_: object, context: Context) -> Any:
            try:
                return await answer(await _request(context, arriving), context)
            except grpc.aio.AbortError as error:
                raise _without_frames(error)  # noqa: B904 - it is the same error

        return grpc.stream_unary_rpc_method_handler(handle_unary, *coders)
    stream = method.unary_stream
    if inspect.isasyncgenfunction(stream):

        async def handle_generator(_: object, context: Context) -> AsyncIterator[Any]:
            try:
                async for response in stream(await _request(context, arriving), context):
                    yield response
            except grpc.aio.AbortError as error:
                raise _without_frames(error)  # noqa: B904 - it is the same error

        return grpc.stream_stream_rpc_method_handler(handle_generator, *coders)
    assert inspect.iscoroutinefunction(stream)

    async def handle_writer(_: object, context: Context) -> None:
        try:
            await stream(await _request(context, arriving), context)
        except grpc.aio.AbortError as error:
            raise _without_frames(error)  # noqa: B904 - it is the same error

    return grpc.stream_stream_rpc_method_handler(handle_writer, *coders)


async def _request(context: Context, arriving: ArrivingMessages) -> Any:
    try:
        request = await arriving.read_request(context)
    except MessageCut as cut:
        await abort(context, cut.refusal)
    if request is grpc.aio.EOF:
        await abort(context, Refusal(Reason.REQUEST_MALFORMED, "the call ended without a request", field="request"))
    return request


def _without_frames(error: grpc.aio.AbortError) -> grpc.aio.AbortError:
    """Take from an error the frames that it went through, which hold the request.

    The call keeps the error and the frames keep the call: a ring that only the collector takes apart, megabytes late.
    """
    error.__context__ = None
    return error.with_traceback(None)
