"""Lazy reflection: gRPC's standard reflection service, imported when a client first asks for it.

Reflection is for people with tools. Importing it would cost every start of a node a tenth of its time.
"""

from collections.abc import Sequence
from typing import Any, Final

import grpc

SERVICE: Final = "grpc.reflection.v1alpha.ServerReflection"
_METHOD: Final = f"/{SERVICE}/ServerReflectionInfo"


class LazyReflection(grpc.GenericRpcHandler):
    """Describes services that have registered with protobuf's default pool, and itself."""

    def __init__(self, services: Sequence[str]) -> None:
        """Describe these services, given by their full names."""
        self._services = [*services, SERVICE]
        self._handler: grpc.RpcMethodHandler[Any, Any] | None = None

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Give the handler of reflection's only method; None for other methods."""
        if handler_call_details.method != _METHOD:
            return None
        if self._handler is None:
            from grpc_reflection.v1alpha import reflection, reflection_pb2

            self._handler = grpc.stream_stream_rpc_method_handler(
                reflection.aio.ReflectionServicer(self._services).ServerReflectionInfo,
                request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
                response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
            )
        return self._handler
