"""Lazy reflection: gRPC's standard reflection service, imported when a client first asks for it.

Reflection is for people with tools. Importing it would cost every start of a node a tenth of its time. It is offered
under both of its names: older tools know ``v1alpha`` alone, newer ones ask for ``v1`` first. ``v1`` has the messages of
``v1alpha`` under another package, so that one servicer answers both.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import grpc
import grpc.aio

from services.rpc.handlers import REQUEST_BYTES_MAX, ServiceHandler, explain, parse
from services.rpc.limits.arriving_messages import ArrivingMessages, MessageCut
from services.rpc.limits.connection import connection_of
from services.rpc.limits.open_calls import OpenCalls
from services.rpc.rich_status import Context, abort

SERVICE: Final = "grpc.reflection.v1.ServerReflection"
OLDER_SERVICE: Final = "grpc.reflection.v1alpha.ServerReflection"
_FILE: Final = "grpc/reflection/v1/reflection.proto"

_STREAMS_MAX: Final = 128
_CONNECTION_STREAMS_MAX: Final = 64


class LazyReflection:
    """Describes services that have registered with protobuf's default pool, and itself. Lives in the event loop."""

    def __init__(self, services: Sequence[str], arriving: ArrivingMessages) -> None:
        """Describe these ``services``, given by their full names; ``arriving`` reads what is asked."""
        self._arriving = arriving
        self._services = [*services, SERVICE, OLDER_SERVICE]
        self._servicer: Any = None
        self._streams = OpenCalls(
            "streams of reflection", calls_max=_STREAMS_MAX, connection_calls_max=_CONNECTION_STREAMS_MAX
        )

    def handlers(self) -> list[ServiceHandler]:
        """The service's only method, under both of its names."""
        describe: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(self.describe)
        return [ServiceHandler(name, {"ServerReflectionInfo": describe}) for name in (SERVICE, OLDER_SERVICE)]

    async def describe(self, _: object, context: Context) -> AsyncIterator[bytes]:
        """Answer each request of a stream."""
        connection = connection_of(context)
        refused = self._streams.enter(connection)
        if refused is not None:
            await abort(context, refused)
        try:
            async for answer in self._imported().ServerReflectionInfo(self._asked(context), context):
                yield answer.SerializeToString()
        except Exception as error:
            await explain(error, context)
        finally:
            self._streams.leave(connection)

    async def _asked(self, context: Context) -> AsyncIterator[Any]:
        from grpc_reflection.v1alpha import reflection_pb2

        try:
            while (message := await self._arriving.read_of_stream(context)) is not grpc.aio.EOF:
                yield await parse(message, reflection_pb2.ServerReflectionRequest, context, REQUEST_BYTES_MAX)
        except MessageCut as cut:
            await abort(context, cut.refusal)

    def _imported(self) -> Any:
        if self._servicer is None:
            from grpc_reflection.v1alpha import reflection, reflection_pb2

            _describe_itself(reflection_pb2.DESCRIPTOR.serialized_pb)
            self._servicer = reflection.aio.ReflectionServicer(self._services)
        return self._servicer


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
