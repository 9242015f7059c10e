"""A gRPC server in the test's own event loop, on a Unix socket."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from penstock.contract.reasons import Reason
from tests.frames import status_of


@asynccontextmanager
async def serving(directory: Path, *handlers: grpc.ServiceRpcHandler) -> AsyncIterator[grpc.aio.Channel]:
    """Serve; gives a channel to the server."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(handlers)
    address = f"unix:{directory}/socket"
    server.add_insecure_port(address)
    await server.start()
    async with grpc.aio.insecure_channel(address) as channel:
        yield channel
    await server.stop(None)


def reason_of(status: status_pb2.Status | list[any_pb2.Any]) -> Reason:
    """The reason that a status, or its details, carry."""
    details = status if isinstance(status, list) else status.details
    info = error_details_pb2.ErrorInfo()
    assert details[0].Unpack(info)
    return Reason[info.reason]


def refused(error: grpc.aio.AioRpcError) -> tuple[Reason, list[str]]:
    """The reason of a refused call, and the fields at fault."""
    status = status_of(error)
    bad = error_details_pb2.BadRequest()
    fields = [each.field for detail in status.details if detail.Unpack(bad) for each in bad.field_violations]
    return reason_of(status), fields


def retry_ms(error: grpc.aio.AioRpcError) -> int:
    """The delay that a refused call asks for; 0 where it asks for none."""
    retry = error_details_pb2.RetryInfo()
    found = any(detail.Unpack(retry) for detail in status_of(error).details)
    return int(retry.retry_delay.ToMilliseconds()) if found else 0
