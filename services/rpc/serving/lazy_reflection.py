"""Lazy reflection: gRPC's standard reflection service, imported when a client first asks for it.

Reflection is for people with tools. Importing it would cost every start of a node a tenth of its time. It is offered
under both of its names: older tools know ``v1alpha`` alone, newer ones ask for ``v1`` first. ``v1`` has the messages of
``v1alpha`` under another package, so that one servicer answers both.
"""

from collections.abc import Sequence
from typing import Any, Final

import grpc

SERVICE: Final = "grpc.reflection.v1.ServerReflection"
OLDER_SERVICE: Final = "grpc.reflection.v1alpha.ServerReflection"
_METHODS: Final = (f"/{SERVICE}/ServerReflectionInfo", f"/{OLDER_SERVICE}/ServerReflectionInfo")
_FILE: Final = "grpc/reflection/v1/reflection.proto"


class LazyReflection(grpc.GenericRpcHandler):
    """Describes services that have registered with protobuf's default pool, and itself."""

    def __init__(self, services: Sequence[str]) -> None:
        """Describe these services, given by their full names."""
        self._services = [*services, SERVICE, OLDER_SERVICE]
        self._handler: grpc.RpcMethodHandler[Any, Any] | None = None

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Give the handler of reflection's only method; None for other methods."""
        if handler_call_details.method not in _METHODS:
            return None
        if self._handler is None:
            from grpc_reflection.v1alpha import reflection, reflection_pb2

            _describe_itself(reflection_pb2.DESCRIPTOR.serialized_pb)
            self._handler = grpc.stream_stream_rpc_method_handler(
                reflection.aio.ReflectionServicer(self._services).ServerReflectionInfo,
                request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
                response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
            )
        return self._handler


def _describe_itself(older: bytes) -> None:
    """Register a description of ``v1``, made of that of ``v1alpha``: grpcio-reflection brings none."""
    from google.protobuf import descriptor_pb2, descriptor_pool

    file = descriptor_pb2.FileDescriptorProto.FromString(older)
    old, new = f".{file.package}.", ".grpc.reflection.v1."
    file.name, file.package = _FILE, "grpc.reflection.v1"
    for message in file.message_type:
        for field in message.field:
            if field.type_name:
                field.type_name = field.type_name.replace(old, new)
    for method in file.service[0].method:
        method.input_type = method.input_type.replace(old, new)
        method.output_type = method.output_type.replace(old, new)
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())  # again, it changes nothing
