"""Status server: tells a node's health and status at addresses and by threads of its own.

What a node's other clients do to its event loop, to gRPC's queues before it, or to the bounds on calls and connections,
keeps nobody from learning here how the node is. It is gRPC's server with threads, two of which answer.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NoReturn

import grpc
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health_pb2

from penstock.contract.reasons import Reason
from penstock.v1 import node_pb2
from services.pipeline.channel import ChannelClosed
from services.refusal import Refusal
from services.rpc import node_service
from services.rpc.handlers import REQUEST_BYTES_MAX, malformed
from services.rpc.rich_status import code_of, trailers_of
from services.rpc.serving import health_service
from services.rpc.serving.health_service import unknown_service
from services.rpc.serving.listening import Listening

CONNECTIONS_MAX: Final = 64
"""Of one address. gRPC closes those that come beyond them: a client sees UNAVAILABLE, and may come again."""
_CONNECTION_CALLS_MAX: Final = 16
_ANSWER_S_MAX: Final = 10.0
_STOP_S: Final = 1.0
_THREADS: Final = 2

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", REQUEST_BYTES_MAX),
    ("grpc.max_concurrent_streams", _CONNECTION_CALLS_MAX),
    ("grpc.max_allowed_incoming_connections", CONNECTIONS_MAX),
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)

_log = logging.getLogger(__name__)


class StatusServer:
    """Answers health checks and `GetStatus`, at no address where none is given.

    Life: construct it, `start`, `stop`, all in one event loop.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        status_of: Callable[[str], int | None],
        describe: Callable[[float], node_pb2.GetStatusResponse],
    ) -> None:
        """Tell the health of a service by ``status_of``, and the node's status by ``describe``, both in any thread."""
        self._addresses = tuple(addresses)
        self._listening = Listening(addresses)
        self._status_of = status_of
        self._describe = describe
        self._server: grpc.Server | None = None
        self._threads: ThreadPoolExecutor | None = None

    def start(self) -> list[str]:
        """Listen; returns the addresses with the ports that were taken where 0 was asked for.

        Raises:
            ListenError: an address is in use, or not this machine's.
        """
        if not self._addresses:
            return []
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="penstock-status")
        self._server = grpc.server(self._threads, [_Methods(self._methods())], options=_OPTIONS)
        try:
            bound = self._listening.bind(self._server.add_insecure_port)
        finally:
            self._server.start()  # one that has not been lets go of no address
        return bound

    async def stop(self) -> None:
        """Answer no more; returns once the addresses are free. Doing so again changes nothing."""
        if self._server is None:
            return
        server, self._server = self._server, None
        await asyncio.to_thread(server.stop(_STOP_S).wait)
        assert self._threads is not None
        self._threads.shutdown(wait=False)
        self._listening.release()

    def lost_addresses(self) -> list[str]:
        """Give the Unix addresses at which somebody else listens by now, or nobody does."""
        return self._listening.lost()

    def _methods(self) -> dict[str, "grpc.RpcMethodHandler[Any, Any]"]:
        return {
            f"/{node_service.SERVICE}/GetStatus": _unary(self._get_status, node_pb2.GetStatusRequest),
            f"/{health_service.SERVICE}/Check": _unary(self._check, health_pb2.HealthCheckRequest),
        }

    def _get_status(self, request: node_pb2.GetStatusRequest) -> node_pb2.GetStatusResponse:
        if request.with_state_digest:
            raise _Refused(Refusal(Reason.DIGEST_ELSEWHERE, field="with_state_digest"))
        try:
            return self._describe(_ANSWER_S_MAX)
        except ChannelClosed:
            raise _Refused(Refusal(Reason.SHUTTING_DOWN)) from None

    def _check(self, request: health_pb2.HealthCheckRequest) -> health_pb2.HealthCheckResponse:
        status = self._status_of(request.service)
        if status is None:
            raise _Refused(unknown_service(request.service))
        return health_pb2.HealthCheckResponse(status=status)


class _Methods(grpc.GenericRpcHandler):
    """Handlers by their methods' full names; what is none of these is refused."""

    def __init__(self, handlers: dict[str, "grpc.RpcMethodHandler[Any, Any]"]) -> None:
        self._handlers = handlers
        self._unknown: grpc.RpcMethodHandler[Any, Any] = grpc.stream_unary_rpc_method_handler(_refuse_unknown)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any]":
        return self._handlers.get(handler_call_details.method, self._unknown)


class _Refused(Exception):
    """A call is refused."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal


def _unary(method: Callable[[Any], Message], request: type[Message]) -> "grpc.RpcMethodHandler[Any, Any]":
    """Handle a method; see `services.rpc.handlers.unary_method`, which does the same in an event loop."""

    def handle(message: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            return method(request.FromString(message)).SerializeToString()
        except DecodeError:
            refusal = malformed(request)
        except _Refused as refused:
            refusal = refused.refusal
        except Exception as error:
            _log.error("a call failed on a mistake of the node's own", exc_info=error)
            refusal = Refusal(Reason.INTERNAL_ERROR)
        _abort(context, refusal)

    return grpc.unary_unary_rpc_method_handler(handle)


def _refuse_unknown(_messages: Iterator[bytes], context: grpc.ServicerContext) -> NoReturn:
    text = "this address tells health (Check) and status (GetStatus) alone: call other methods at listen.addresses"
    _abort(context, Refusal(Reason.METHOD_UNKNOWN, text))


def _abort(context: grpc.ServicerContext, refusal: Refusal) -> NoReturn:
    context.set_trailing_metadata(trailers_of(refusal))
    context.abort(code_of(refusal), refusal.message)
