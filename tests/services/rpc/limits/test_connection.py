"""Connections are told apart, over Unix sockets too, as far as their clients say who they are."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import pytest

from penstock.client.options import RetryOptions
from penstock.client.transport.channel import open_channel
from services.rpc.handlers import ServiceHandler
from services.rpc.limits.connection import connection_of
from services.rpc.rich_status import Context
from tests.services.rpc.in_process import serving


@pytest.fixture
async def address(tmp_path: Path) -> AsyncIterator[str]:
    async def name(_: bytes, context: Context) -> bytes:
        return connection_of(context).encode()

    method: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(name)
    async with serving(tmp_path, ServiceHandler("test.Service", {"Name": method})):
        yield f"unix:{tmp_path}/socket"


async def name_of(channel: grpc.aio.Channel) -> bytes:
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/test.Service/Name")
    return await call(b"")


async def test_clients_on_a_unix_socket_are_told_apart_and_keep_their_names(address: str) -> None:
    async with open_channel(address, None, RetryOptions()) as one, open_channel(address, None, RetryOptions()) as other:
        assert await name_of(one) != await name_of(other)
        assert await name_of(one) == await name_of(one)


async def test_other_programs_on_a_unix_socket_are_told_apart_by_what_they_say(address: str) -> None:
    def channel(agent: str) -> grpc.aio.Channel:
        return grpc.aio.insecure_channel(
            address, [("grpc.primary_user_agent", agent), ("grpc.use_local_subchannel_pool", 1)]
        )

    async with channel("a/1") as one, channel("a/1") as same, channel("b/1") as other, channel("x" * 5000) as long:
        assert await name_of(one) == await name_of(same)
        assert await name_of(one) != await name_of(other)
        assert len(await name_of(long)) < 200
