"""Health and status are told beside a node's other clients, in whatever state its event loop is."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from loadtest.attack.http2_socket import call_headers, frame, message_head, opening
from penstock.contract.reasons import Reason
from penstock.v1 import node_pb2, node_pb2_grpc
from services.pipeline.channel import ChannelClosed
from services.rpc.serving.listening import ListenError
from services.rpc.serving.status_server import CONNECTIONS_MAX, StatusServer

Status = health_pb2.HealthCheckResponse
HEALTH = {"": Status.SERVING, "some.Service": Status.NOT_SERVING}
CUT_SHORT = b"\x0a\x7f\x00"


def described(_: float) -> node_pb2.GetStatusResponse:
    return node_pb2.GetStatusResponse(condition="serving")


@asynccontextmanager
async def serving(
    directory: Path, describe: Callable[[float], node_pb2.GetStatusResponse] = described
) -> AsyncIterator[grpc.Channel]:
    """Serve; gives a channel whose calls block the event loop until they are answered."""
    server = StatusServer([f"unix:{directory}/status"], HEALTH.get, describe)
    assert server.start() == [f"unix:{directory}/status"]
    with channel_to(directory) as channel:
        yield channel
    await server.stop()


def channel_to(directory: Path) -> grpc.Channel:
    return grpc.insecure_channel(f"unix:{directory}/status", [("grpc.use_local_subchannel_pool", 1)])


def get_status(channel: grpc.Channel, **fields: Any) -> node_pb2.GetStatusResponse:
    return node_pb2_grpc.NodeServiceStub(channel).GetStatus(node_pb2.GetStatusRequest(**fields), timeout=10)


def check(channel: grpc.Channel, service: str) -> int:
    request = health_pb2.HealthCheckRequest(service=service)
    status: int = health_pb2_grpc.HealthStub(channel).Check(request, timeout=10).status
    return status


def reason_of(error: Any) -> Reason:
    trailers = dict(error.trailing_metadata())
    info = error_details_pb2.ErrorInfo()
    assert status_pb2.Status.FromString(trailers["grpc-status-details-bin"]).details[0].Unpack(info)
    return Reason[info.reason]


async def test_it_answers_while_the_event_loop_does_nothing_else(tmp_path: Path) -> None:
    async with serving(tmp_path) as channel:
        assert get_status(channel).condition == "serving"
        assert [check(channel, name) for name in HEALTH] == list(HEALTH.values())


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda channel: check(channel, "other.Service"), Reason.SERVICE_UNKNOWN),
        (lambda channel: get_status(channel, with_state_digest=True), Reason.DIGEST_ELSEWHERE),
        (lambda channel: channel.unary_unary("/grpc.health.v1.Health/Check")(CUT_SHORT), Reason.REQUEST_MALFORMED),
        (lambda channel: channel.unary_unary("/penstock.v1.StateService/Read")(b""), Reason.METHOD_UNKNOWN),
        (lambda channel: next(channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")), Reason.METHOD_UNKNOWN),
    ],
)
async def test_what_it_does_not_answer_is_refused_with_a_reason(
    tmp_path: Path, call: Callable[[grpc.Channel], object], reason: Reason
) -> None:
    async with serving(tmp_path) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            call(channel)
        assert reason_of(caught.value) is reason
        assert check(channel, "") == Status.SERVING


@pytest.mark.parametrize(
    ("error", "reason"), [(ChannelClosed(), Reason.SHUTTING_DOWN), (TimeoutError(), Reason.INTERNAL_ERROR)]
)
async def test_a_status_that_cannot_be_told_is_refused_with_a_reason(
    tmp_path: Path, error: Exception, reason: Reason
) -> None:
    def describe(_: float) -> node_pb2.GetStatusResponse:
        raise error

    async with serving(tmp_path, describe) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            get_status(channel)
        assert reason_of(caught.value) is reason


async def test_a_method_s_name_that_is_no_utf_8_harms_nobody(tmp_path: Path) -> None:
    async with serving(tmp_path) as channel:
        with socket.socket(socket.AF_UNIX) as odd:
            odd.connect(f"{tmp_path}/status")
            odd.sendall(
                opening() + call_headers(1, "/grpc.health.v1.H\udce9alth/Check") + frame(0, 1, 1, message_head(0))
            )
            odd.settimeout(10)
            assert odd.recv(100)
        assert check(channel, "") == Status.SERVING


async def test_connections_are_bounded_and_make_room_for_others_when_they_end(tmp_path: Path) -> None:
    async with serving(tmp_path) as channel:
        assert check(channel, "") == Status.SERVING
        with ExitStack() as stack:
            for _ in range(CONNECTIONS_MAX):
                idle = stack.enter_context(socket.socket(socket.AF_UNIX))
                idle.connect(f"{tmp_path}/status")
            assert idle.recv(1) == b"", "the last one is closed"
            assert check(channel, "") == Status.SERVING, "one that is there is served"
        with channel_to(tmp_path) as another:
            health_pb2_grpc.HealthStub(another).Check(health_pb2.HealthCheckRequest(), timeout=10, wait_for_ready=True)


async def test_its_socket_is_nobody_else_s_until_it_stops(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/status"
    first, second = (StatusServer([address], HEALTH.get, described) for _ in range(2))
    first.start()
    with pytest.raises(ListenError, match="in use"):
        second.start()
    await second.stop()
    with channel_to(tmp_path) as channel:
        assert check(channel, "") == Status.SERVING
    assert first.lost_addresses() == []
    (tmp_path / "status").unlink()
    assert first.lost_addresses() == [address]
    await first.stop()
    await first.stop()
    assert not (tmp_path / "status.lock").exists()


async def test_at_no_address_there_is_nothing(tmp_path: Path) -> None:
    server = StatusServer([], HEALTH.get, described)
    assert server.start() == []
    assert server.lost_addresses() == []
    await asyncio.wait_for(server.stop(), 10)
