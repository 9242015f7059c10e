"""Method handlers: typed requests and responses over gRPC's bytes."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar, cast

import grpc
from google.protobuf.message import DecodeError, Message

from penstock.contract.reasons import Reason
from services.refusal import Refusal
from services.rpc.rich_status import Context, abort

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


def service_handler(name: str, methods: "Mapping[str, grpc.RpcMethodHandler[Any, Any]]") -> grpc.ServiceRpcHandler:
    """Make the handler of a service from its methods' handlers."""
    return cast(grpc.ServiceRpcHandler, grpc.method_handlers_generic_handler(name, dict(methods)))


def unary_method(
    method: Callable[[Request, Context], Awaitable[Response]], request: type[Request]
) -> "grpc.RpcMethodHandler[Any, Any]":
    """Handle a method of one request and one response; a request that cannot be parsed is refused like other bad input.

    gRPC's own deserializers would end the call with UNKNOWN and no details.
    """

    async def handle(message: bytes, context: Context) -> bytes:
        response = await method(await _parse(message, request, context), context)
        return response.SerializeToString()

    return grpc.unary_unary_rpc_method_handler(handle)


def streaming_method(
    method: Callable[[Request, Context], AsyncIterator[Response]], request: type[Request]
) -> "grpc.RpcMethodHandler[Any, Any]":
    """Handle a method of one request and a stream of responses; see `unary_method`."""

    async def handle(message: bytes, context: Context) -> AsyncIterator[bytes]:
        async for response in method(await _parse(message, request, context), context):
            yield response.SerializeToString()

    return grpc.unary_stream_rpc_method_handler(handle)


async def _parse(message: bytes, request: type[Request], context: Context) -> Request:
    try:
        return request.FromString(message)
    except DecodeError:
        text = f"the message is no {request.DESCRIPTOR.full_name}: it was cut short, or is something else altogether"
        await abort(context, Refusal(Reason.REQUEST_MALFORMED, text, field="request"))
