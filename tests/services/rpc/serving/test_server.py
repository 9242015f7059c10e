import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from penstock.contract.reasons import Reason
from penstock.v1 import txqueue_pb2  # noqa: F401 - what reflection describes
from services.rpc.handlers import ServiceHandler
from services.rpc.limits.arriving_messages import ArrivingMessages
from services.rpc.serving.listening import ListenError
from services.rpc.serving.server import MESSAGE_BYTES_MAX, NodeServer, connections_max
from services.runtime import descriptors
from tests.services.rpc.in_process import refused

SERVICE = "penstock.v1.TxQueueService"
Status = health_pb2.HealthCheckResponse


class HeldCall:
    """A call that came and is answered when the test says so."""

    def __init__(self) -> None:
        self.came = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def answer(self) -> bytes:
        self.came.set()
        await self.may_answer.wait()
        return b"answered"


def node_server(*addresses: str, held: HeldCall | None = None) -> NodeServer:
    async def submit_frame(message: bytes, _: object) -> bytes:
        return message

    async def submit(_: bytes, __: object) -> bytes:
        assert held is not None
        return await held.answer()

    methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "SubmitFrame": grpc.unary_unary_rpc_method_handler(submit_frame),
        "Submit": grpc.unary_unary_rpc_method_handler(submit),
    }
    return NodeServer(addresses, [ServiceHandler(SERVICE, methods)], ArrivingMessages(), on_failure)


def on_failure(error: Exception) -> None:
    pytest.fail(f"the server takes no more calls: {error!r}")


@pytest.fixture
async def server() -> AsyncIterator[tuple[NodeServer, str]]:
    node = node_server("127.0.0.1:0")
    (address,) = await node.start()
    yield node, address
    await node.stop(0)


async def health_of(address: str, service: str) -> int:
    async with grpc.aio.insecure_channel(address) as channel:
        response = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service))
    status: int = response.status
    return status


async def test_a_node_is_unhealthy_until_it_serves(server: tuple[NodeServer, str]) -> None:
    node, address = server
    assert await health_of(address, "") == Status.NOT_SERVING
    assert await health_of(address, SERVICE) == Status.NOT_SERVING
    node.set_serving()
    assert await health_of(address, "") == Status.SERVING
    assert await health_of(address, SERVICE) == Status.SERVING


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_names_and_describes_the_services(server: tuple[NodeServer, str], version: str) -> None:
    _, address = server
    request = reflection_pb2.ServerReflectionRequest
    async with grpc.aio.insecure_channel(address) as channel:
        ask = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=request.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        (listed,) = [response async for response in ask(iter([request(list_services="")]))]
        names = [service.name for service in listed.list_services_response.service]
        symbols = [request(file_containing_symbol=name) for name in names]
        described = [response async for response in ask(iter(symbols))]
    assert set(names) == {
        SERVICE,
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    for name, answer in zip(names, described, strict=True):
        files = [FileDescriptorProto.FromString(file) for file in answer.file_descriptor_response.file_descriptor_proto]
        assert any(f"{file.package}.{service.name}" == name for file in files for service in file.service)
        pool = DescriptorPool()
        for file in reversed(files):
            pool.Add(file)
        assert pool.FindServiceByName(name).methods


async def test_the_largest_frame_passes_and_a_larger_message_than_the_limit_does_not(
    server: tuple[NodeServer, str],
) -> None:
    _, address = server
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{SERVICE}/SubmitFrame")
        frame = bytes(640_000 + (4 << 20) + 100)
        assert await call(frame) == frame
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(bytes(MESSAGE_BYTES_MAX + 1))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await call(b"still here") == b"still here"


async def test_a_stopping_node_answers_the_calls_in_progress(tmp_path: Path) -> None:
    held = HeldCall()
    node = node_server(f"unix:{tmp_path}/s", held=held)
    (address,) = await node.start()
    async with grpc.aio.insecure_channel(address) as channel:
        submit: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{SERVICE}/Submit")
        call = asyncio.ensure_future(submit(b""))
        await held.came.wait()
        stopped = asyncio.create_task(node.stop(60))
        await asyncio.sleep(0)
        held.may_answer.set()
        assert await call == b"answered"
        await stopped


async def test_a_call_that_does_not_end_is_cut_when_the_grace_is_over(tmp_path: Path) -> None:
    held = HeldCall()
    node = node_server(f"unix:{tmp_path}/s", held=held)
    (address,) = await node.start()
    async with grpc.aio.insecure_channel(address) as channel:
        submit: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{SERVICE}/Submit")
        call = asyncio.ensure_future(submit(b""))
        await held.came.wait()
        await node.stop(0)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_port_in_use_is_refused_and_never_shared(server: tuple[NodeServer, str]) -> None:
    _, address = server
    with pytest.raises(ListenError, match=r"choose another in listen\.addresses"):
        await node_server(address).start()


async def test_a_socket_in_a_missing_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ListenError, match=r"directory that does not exist"):
        await node_server(f"unix:{tmp_path}/missing/socket").start()


async def test_a_node_listens_on_several_addresses(tmp_path: Path) -> None:
    node = node_server(f"unix:{tmp_path}/s", "127.0.0.1:0")
    for address in await node.start():
        assert await health_of(address, "") == Status.NOT_SERVING
    await node.stop(0)


async def test_a_socket_left_by_a_killed_node_does_not_stop_the_next(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(f"{tmp_path}/s")
    node = node_server(f"unix:{tmp_path}/s")
    (address,) = await node.start()
    assert await health_of(address, "") == Status.NOT_SERVING
    await node.stop(0)


async def test_a_service_that_cannot_work_is_unhealthy_by_itself_until_it_can(server: tuple[NodeServer, str]) -> None:
    node, address = server
    node.set_serving([SERVICE])
    assert await health_of(address, "") == Status.SERVING
    assert await health_of(address, SERVICE) == Status.NOT_SERVING
    node.set_serving()
    assert await health_of(address, SERVICE) == Status.SERVING


@pytest.mark.parametrize("path", ["{0}/s", "//{0}/s", "{0}/link/s", "{0}/alias"], ids=["same", "url", "folder", "link"])
async def test_a_unix_socket_in_use_is_refused_however_its_path_is_written(tmp_path: Path, path: str) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "alias").symlink_to(tmp_path / "s")
    first = node_server(f"unix:{tmp_path}/s")
    (address,) = await first.start()
    with pytest.raises(ListenError, match="it is in use"):
        await node_server(f"unix:{path.format(tmp_path)}").start()
    assert await health_of(address, "") == Status.NOT_SERVING, "the first one is reached still"
    assert first.lost_addresses() == []
    await first.stop(0)


async def test_a_unix_socket_of_a_program_that_is_no_node_is_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(f"{tmp_path}/s")
        other.listen()
        with pytest.raises(ListenError, match="it is in use"):
            await node_server(f"unix:{tmp_path}/s").start()
        assert (tmp_path / "s").is_socket()


async def test_a_socket_s_path_is_free_again_once_its_node_has_stopped(tmp_path: Path) -> None:
    for _ in range(2):
        node = node_server(f"unix:{tmp_path}/s")
        await node.start()
        await node.stop(0)
    assert not (tmp_path / "s").exists()
    assert not (tmp_path / "s.lock").exists()


async def test_a_node_notices_that_its_socket_s_path_is_another_s(tmp_path: Path) -> None:
    node = node_server(f"unix:{tmp_path}/s", "127.0.0.1:0")
    await node.start()
    assert node.lost_addresses() == []
    (tmp_path / "s").unlink()
    assert node.lost_addresses() == [f"unix:{tmp_path}/s"]
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(f"{tmp_path}/s")
        assert node.lost_addresses() == [f"unix:{tmp_path}/s"]
    await node.stop(0)


async def test_an_address_named_twice_in_two_ways_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(ListenError):
        await node_server(f"unix:{tmp_path}/s", f"unix:{tmp_path}/link/s").start()
    assert not (tmp_path / "s").exists()
    assert not (tmp_path / "s.lock").exists()


async def test_a_name_of_which_one_address_is_taken_is_refused(server: tuple[NodeServer, str]) -> None:
    _, address = server
    port = address.rpartition(":")[2]
    with pytest.raises(ListenError, match="it is in use"):
        await node_server(f"localhost:{port}").start()


async def test_a_name_all_of_whose_addresses_are_free_is_listened_at() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    node = node_server(f"localhost:{port}")
    assert await node.start() == [f"localhost:{port}"]
    assert await health_of(f"127.0.0.1:{port}", "") == Status.NOT_SERVING
    await node.stop(0)


async def test_a_method_that_there_is_not_is_refused_with_its_reason(server: tuple[NodeServer, str]) -> None:
    _, address = server
    async with grpc.aio.insecure_channel(address) as channel:
        for name in (f"/{SERVICE}/Gone", "/other.Service/Method"):
            call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(name)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(b"")
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
            assert refused(caught.value) == (Reason.METHOD_UNKNOWN, [])


async def test_a_burst_of_thousands_of_calls_is_answered_and_none_is_cancelled(server: tuple[NodeServer, str]) -> None:
    _, address = server
    channels = [grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) for _ in range(4)]
    methods: list[grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]] = [
        channel.unary_unary(f"/{SERVICE}/SubmitFrame") for channel in channels
    ]
    answers = await asyncio.gather(*(method(b"frame") for method in methods for _ in range(1_000)))
    assert answers == [b"frame"] * 4_000
    for channel in channels:
        await channel.close()


@pytest.mark.parametrize(("limit", "count", "each"), [(20_000, 1, 19_744), (1024, 2, 384), (256, 1, 192), (4, 9, 1)])
def test_connections_leave_descriptors_to_the_rest_of_the_node(limit: int, count: int, each: int) -> None:
    assert connections_max(limit, count) == each


async def test_connections_beyond_the_bound_are_closed_and_those_within_it_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(descriptors, "limit", lambda: 40)  # 30 connections
    node = node_server(f"unix:{tmp_path}/s")
    (address,) = await node.start()
    async with grpc.aio.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        await health.Check(health_pb2.HealthCheckRequest())
        with ExitStack() as stack:
            for _ in range(30):
                idle = stack.enter_context(socket.socket(socket.AF_UNIX))
                idle.connect(f"{tmp_path}/s")
            reader, writer = await asyncio.open_unix_connection(sock=idle)
            assert await asyncio.wait_for(reader.read(1), 10) == b"", "the last one is closed"
            writer.close()
            await health.Check(health_pb2.HealthCheckRequest())
    await node.stop(0)
