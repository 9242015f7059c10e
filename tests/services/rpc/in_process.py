"""A gRPC server in the test's own event loop, on a Unix socket."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from penstock.contract.reasons import Reason
from services.rpc.handlers import ServiceHandler
from services.rpc.serving.call_server import CallServer
from services.rpc.serving.server import CALLS_MAX, OPTIONS
from tests.frames import status_of


@asynccontextmanager
async def serving(directory: Path, *services: ServiceHandler) -> AsyncIterator[grpc.aio.Channel]:
    """Serve; gives a channel to the server."""
    # A test has one connection, and wants to go beyond what a connection has.
    options = [(name, value) for name, value in OPTIONS if name != "grpc.max_concurrent_streams"]
    server = CallServer(services, options, calls_max=CALLS_MAX, on_failure=lambda error: pytest.fail(repr(error)))
    address = f"unix:{directory}/socket"
    server.add_insecure_port(address)
    await server.start()
    async with grpc.aio.insecure_channel(address) as channel:
        yield channel
    await server.shutdown(None)


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
