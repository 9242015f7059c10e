"""The transport over gRPC: what every transport promises, and what a wrong address meets."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import grpc
import grpc.aio
import pytest

from penstock.v1 import replication_pb2 as pb
from replication.transport.errors import TransportError
from replication.transport.grpc_transport import SERVICE, GrpcTransport
from replication.transport.peer_link import METHOD
from replication.transport.transport import OnReceived, Transport
from tests.replication.transport.contract import Inbox, TransportContract, heartbeat, turns_until

CLUSTER = 0xC1


def nothing(_: int, __: object, ___: object) -> None:
    """Take what comes."""


class TestGrpcTransport(TransportContract):
    @pytest.fixture(autouse=True)
    def _places(self, tmp_path: Path) -> None:
        self.addresses = {node: f"unix:{tmp_path}/{node}.sock" for node in (1, 2, 3)}
        self.nodes: dict[int, GrpcTransport] = {}

    async def join(self, node: int, on_received: OnReceived) -> Transport:
        transport = GrpcTransport(node, CLUSTER, self.addresses[node], on_received, Random(node))
        await transport.start()
        transport.connect({peer: address for peer, address in self.addresses.items() if peer != node})
        self.nodes[node] = transport
        return transport

    async def leave(self, node: int) -> None:
        await self.nodes.pop(node).stop()

    async def join_stuck(self, node: int) -> Callable[[], Awaitable[None]]:
        ended = asyncio.Event()

        async def deliver(_: object, __: object) -> bytes:
            await ended.wait()
            return b""

        server = grpc.aio.server()
        taker: grpc.RpcMethodHandler[Any, Any] = grpc.stream_unary_rpc_method_handler(deliver)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Deliver": taker}),))
        server.add_insecure_port(self.addresses[node])
        await server.start()

        async def end() -> None:
            ended.set()
            await server.stop(None)

        return end


@pytest.fixture
async def node_2() -> Any:
    transport = GrpcTransport(2, CLUSTER, "127.0.0.1:0", nothing, Random(2))
    yield await transport.start()
    await transport.stop()


async def call(address: str, metadata: tuple[tuple[str, str], ...], *messages: bytes) -> grpc.aio.AioRpcError:
    async with grpc.aio.insecure_channel(address) as channel:
        method: Any = channel.stream_unary(METHOD)

        async def requests() -> Any:
            for message in messages:
                yield message

        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await method(requests(), metadata=metadata)
        return raised.value


def metadata(cluster: str = f"{CLUSTER:016x}", sender: str = "1", to: str = "2") -> tuple[tuple[str, str], ...]:
    return (("penstock-cluster", cluster), ("penstock-from", sender), ("penstock-to", to))


@pytest.mark.parametrize(
    "wrong", [(), metadata(cluster="00000000000000c2"), metadata(to="3"), metadata(to="")], ids=str
)
async def test_a_call_for_another_node_or_cluster_says_whose_this_is(node_2: str, wrong: Any) -> None:
    error = await call(node_2, wrong, b"")
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "this is node 2 of cluster 00000000000000c1" in str(error.details())


@pytest.mark.parametrize("sender", ["", "2", "one", "-1"])
async def test_a_call_of_nobody_is_refused(node_2: str, sender: str) -> None:
    error = await call(node_2, metadata(sender=sender))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_what_is_no_message_ends_the_call_and_not_the_node(node_2: str) -> None:
    for garbage in (b"", b"\xff" * 50, pb.DeliverRequest(blocks=[b"x"]).SerializeToString()):
        error = await call(node_2, metadata(), garbage)
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    inbox = Inbox()
    sender = GrpcTransport(1, CLUSTER, "127.0.0.1:0", inbox.receive, Random(1))
    await sender.start()
    sender.connect({2: node_2})
    await turns_until(lambda: sender.traffic()[2].connected)
    sender.send(2, heartbeat(1))
    await turns_until(lambda: sender.traffic()[2].messages)
    await sender.stop()


async def test_an_address_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        transport = GrpcTransport(1, CLUSTER, f"127.0.0.1:{taken.getsockname()[1]}", nothing, Random(1))
        with pytest.raises(TransportError, match=r"cannot listen for other nodes on 127\.0\.0\.1"):
            await transport.start()


async def test_a_node_that_is_not_there_is_told_once(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    other_cluster = GrpcTransport(2, 0xC2, "127.0.0.1:0", nothing, Random(2))
    address = await other_cluster.start()
    transport = GrpcTransport(1, CLUSTER, f"unix:{tmp_path}/1.sock", nothing, Random(1))
    await transport.start()
    transport.connect({2: address})
    await turns_until(lambda: caplog.records)
    await asyncio.sleep(0.3)  # several attempts more
    await transport.stop()
    await other_cluster.stop()
    (told,) = caplog.records
    assert "not node 2 of 00000000000000c1" in told.getMessage()
