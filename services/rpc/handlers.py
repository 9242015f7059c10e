"""Method handlers: typed requests and responses over gRPC's bytes, and an explained error whatever goes wrong."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final, NoReturn, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message

from penstock.contract.reasons import Reason
from services.refusal import Refusal
from services.rpc.rich_status import Context, abort

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)

REQUEST_BYTES_MAX: Final = 64 << 10
"""Of a request that holds a few fields. A parsed message takes up to a hundred times its bytes."""

_log = logging.getLogger(__name__)


class ServiceHandler(grpc.ServiceRpcHandler):
    """The handlers of a service's methods."""

    def __init__(self, name: str, methods: "Mapping[str, grpc.RpcMethodHandler[Any, Any]]") -> None:
        """Handle these ``methods``, given by their names in the service, which is called ``name`` in full."""
        self._name = name
        self.methods: Final = {f"/{name}/{method}": handler for method, handler in methods.items()}
        """By their full names, as calls have them."""

    def service_name(self) -> str:
        """Give the service's full name."""
        return self._name

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Give the handler of a call; None where it is another service's."""
        return self.methods.get(handler_call_details.method)


def unary_method(
    method: Callable[[Request, Context], Awaitable[Response]],
    request: type[Request],
    *,
    request_bytes_max: int = REQUEST_BYTES_MAX,
) -> "grpc.RpcMethodHandler[Any, Any]":
    """Handle a method of one request and one response; a request that cannot be parsed is refused like other bad input.

    gRPC's own deserializers would end the call with UNKNOWN and no details.
    """

    async def handle(message: bytes, context: Context) -> bytes:
        try:
            response = await method(await parse(message, request, context, request_bytes_max), context)
            return response.SerializeToString()
        except Exception as error:
            await explain(error, context)

    return grpc.unary_unary_rpc_method_handler(handle)


def streaming_method(
    method: Callable[[Request, Context], AsyncIterator[bytes]],
    request: type[Request],
    *,
    request_bytes_max: int = REQUEST_BYTES_MAX,
) -> "grpc.RpcMethodHandler[Any, Any]":
    """Handle a method of one request and a stream of encoded responses; see `unary_method`."""

    async def handle(message: bytes, context: Context) -> AsyncIterator[bytes]:
        try:
            async for response in method(await parse(message, request, context, request_bytes_max), context):
                yield response
        except Exception as error:
            await explain(error, context)

    return grpc.unary_stream_rpc_method_handler(handle)


async def parse(message: bytes, request: type[Request], context: Context, request_bytes_max: int) -> Request:
    """Parse a request, or end its call where there is none in ``message``."""
    if len(message) > request_bytes_max:
        text = f"the message has {len(message):,} bytes, and a request of this method {request_bytes_max:,} at most"
        await abort(context, Refusal(Reason.REQUEST_TOO_LARGE, text, field="request"))
    try:
        return request.FromString(message)
    except DecodeError:
        await abort(context, malformed(request))


def malformed(request: type[Message]) -> Refusal:
    """Refuse a message that cannot be parsed."""
    text = f"the message is no {request.DESCRIPTOR.full_name}: it was cut short, or is something else altogether"
    return Refusal(Reason.REQUEST_MALFORMED, text, field="request")


async def explain(error: Exception, context: Context) -> NoReturn:
    """End a call on which ``error`` was raised: what nobody foresaw is logged, and its caller learns that much.

    Raises:
        CancelledError: the client has gone meanwhile, so that there is nobody to tell.
    """
    if isinstance(error, grpc.aio.AbortError):
        raise error
    if isinstance(error, grpc.aio.InternalError):  # of what was to be sent to the client
        raise asyncio.CancelledError
    _log.error("a call failed on a mistake of the node's own", exc_info=error)
    await abort(context, Refusal(Reason.INTERNAL_ERROR))
