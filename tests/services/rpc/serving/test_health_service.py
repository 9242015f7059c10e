"""Health is told to whoever asks or watches, in a form that programs can read; no watcher holds it up."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from penstock.contract.reasons import Reason
from services.rpc.serving.health_service import SERVICE, HealthService
from tests.services.rpc.in_process import refused, serving

Status = health_pb2.HealthCheckResponse
NODE = "penstock.v1.NodeService"


@pytest.fixture
async def service() -> HealthService:
    return HealthService(["", NODE])


@pytest.fixture
async def channel(tmp_path: Path, service: HealthService) -> AsyncIterator[grpc.aio.Channel]:
    async with serving(tmp_path, service.handler()) as open_channel:
        yield open_channel


def watch(channel: grpc.aio.Channel, name: str = "") -> Any:
    return health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=name))


@pytest.mark.parametrize("method", ["Check", "Watch", "List"])
async def test_a_message_that_cannot_be_parsed_is_bad_input(channel: grpc.aio.Channel, method: str) -> None:
    ask: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(f"/{SERVICE}/{method}")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(b"\x0a\x7f\x00").read()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert refused(caught.value) == (Reason.REQUEST_MALFORMED, ["request"])


async def test_a_service_that_there_is_not_is_refused_with_its_reason(channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service="other.Service"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND, "as the protocol has it"
    assert refused(caught.value) == (Reason.SERVICE_UNKNOWN, ["service"])


async def test_all_services_are_listed(channel: grpc.aio.Channel, service: HealthService) -> None:
    service.set_serving([NODE])
    listed = (await health_pb2_grpc.HealthStub(channel).List(health_pb2.HealthListRequest())).statuses
    assert {name: answer.status for name, answer in listed.items()} == {"": Status.SERVING, NODE: Status.NOT_SERVING}


async def test_a_watch_tells_changes_and_ends_with_the_node(channel: grpc.aio.Channel, service: HealthService) -> None:
    call = watch(channel)
    assert (await call.read()).status == Status.NOT_SERVING
    service.set_serving()
    assert (await call.read()).status == Status.SERVING
    service.set_serving([NODE])  # of no concern to it
    service.end()
    assert (await call.read()).status == Status.NOT_SERVING
    assert await call.read() is grpc.aio.EOF
    service.set_serving()
    assert (await watch(channel).read()).status == Status.NOT_SERVING, "for good"


async def test_a_watch_of_a_service_that_there_is_not_says_so(channel: grpc.aio.Channel) -> None:
    assert (await watch(channel, "other.Service").read()).status == Status.SERVICE_UNKNOWN


async def test_a_watcher_that_does_not_read_holds_nobody_up(service: HealthService) -> None:
    peer: Any = Peer()
    stuck, other = (service.watch(health_pb2.HealthCheckRequest(), peer) for _ in range(2))
    await anext(stuck)  # gRPC asks for the next only once this one is taken
    await anext(other)
    service.set_serving()
    assert Status.FromString(await asyncio.wait_for(anext(other), 5)).status == Status.SERVING


async def test_more_watches_than_may_be_open_are_refused(channel: grpc.aio.Channel) -> None:
    calls = [watch(channel) for _ in range(512)]
    for call in calls:
        await call.read()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await watch(channel).read()
    assert refused(caught.value) == (Reason.CALLS_LIMIT, [])
    for call in calls:
        call.cancel()


class Peer:
    """The part of a call's context that a watch uses."""

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"
