"""Calls that wait for a message can be ended, the oldest first, by a refusal that says why."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from penstock.contract.reasons import Reason
from penstock.v1 import state_pb2
from services.refusal import Refusal
from services.rpc.handlers import ServiceHandler, streaming_method, unary_method
from services.rpc.limits import arriving_messages
from services.rpc.limits.arriving_messages import ArrivingMessages, watched
from services.rpc.rich_status import Context, abort
from tests.services.rpc.in_process import refused, serving

SHORT = Refusal(Reason.MEMORY_LIMIT)
KEY = state_pb2.Key(value=b"k")


async def read(request: state_pb2.ReadRequest, _: Context) -> state_pb2.ReadResponse:
    return state_pb2.ReadResponse(log_index=len(request.key.value))


async def watch(request: state_pb2.WatchRequest, _: Context) -> AsyncIterator[bytes]:
    for index in range(request.from_index):
        yield state_pb2.WatchResponse(log_index=index).SerializeToString()


async def write(_: bytes, context: Context) -> None:
    await context.write(b"written")


class Large:
    """Stands for what a request's handler holds."""


REFUSED: "list[weakref.ref[Large]]" = []


async def refuse(_: bytes, context: Context) -> None:
    held = Large()
    REFUSED.append(weakref.ref(held))
    try:
        b"\xff".decode()
    except UnicodeDecodeError:
        await abort(context, SHORT)


SERVICE = ServiceHandler(
    "test",
    {
        "Read": unary_method(read, state_pb2.ReadRequest),
        "Watch": streaming_method(watch, state_pb2.WatchRequest),
        "Refuse": grpc.unary_stream_rpc_method_handler(refuse),
        "Write": grpc.unary_stream_rpc_method_handler(write),
    },
)


@pytest.fixture
def arriving() -> ArrivingMessages:
    return ArrivingMessages()


@pytest.fixture
async def channel(tmp_path: Path, arriving: ArrivingMessages) -> AsyncIterator[Any]:
    async with serving(tmp_path, watched(SERVICE, arriving)) as made:
        yield made


def unsent(channel: Any, method: str) -> Any:
    """A call whose request never comes."""
    return channel.stream_unary(f"/test/{method}")()


async def until(arriving: ArrivingMessages, waiting: int) -> None:
    async with asyncio.timeout(20):
        while len(arriving) != waiting:  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0.005)


async def failure(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_each_kind_of_method_is_served_as_before(channel: Any, arriving: ArrivingMessages) -> None:
    answer = await channel.unary_unary("/test/Read")(state_pb2.ReadRequest(key=KEY).SerializeToString())
    assert state_pb2.ReadResponse.FromString(answer).log_index == 1
    watched = channel.unary_stream("/test/Watch")(state_pb2.WatchRequest(from_index=3).SerializeToString())
    assert len([message async for message in watched]) == 3
    assert await channel.unary_unary("/test/Write")(b"") == b"written"
    assert (await failure(channel.unary_unary("/test/None")(b""))).code() is grpc.StatusCode.UNIMPLEMENTED
    assert not len(arriving)


async def test_calls_are_cut_oldest_first_and_say_why(channel: Any, arriving: ArrivingMessages) -> None:
    calls = []
    for number, method in enumerate(("Read", "Watch", "Write"), start=1):
        calls.append(unsent(channel, method))
        await until(arriving, number)
    assert arriving.cut(2, SHORT) == 2
    for call in calls[:2]:
        assert refused(await failure(call))[0] is Reason.MEMORY_LIMIT
    assert len(arriving) == 1
    assert arriving.cut(5, SHORT) == 1
    assert refused(await failure(calls[2]))[0] is Reason.MEMORY_LIMIT


async def test_a_request_that_does_not_come_is_cut_in_time_and_no_other(
    channel: Any, arriving: ArrivingMessages, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = unsent(channel, "Read")
    await until(arriving, 1)
    assert arriving.cut_late_requests(Refusal(Reason.REQUEST_LATE)) == 0
    monkeypatch.setattr(arriving_messages, "REQUEST_S_MAX", 0.0)
    assert arriving.cut_late_requests(Refusal(Reason.REQUEST_LATE)) == 1
    assert refused(await failure(late))[0] is Reason.REQUEST_LATE


async def test_a_call_that_ends_without_a_request_is_refused(channel: Any) -> None:
    call = channel.stream_unary("/test/Read")(iter([]))
    assert refused(await failure(call))[0] is Reason.REQUEST_MALFORMED


async def test_a_call_that_its_client_cancels_is_no_longer_known(channel: Any, arriving: ArrivingMessages) -> None:
    call = unsent(channel, "Read")
    await until(arriving, 1)
    call.cancel()
    await until(arriving, 0)


async def test_a_refused_request_is_let_go_of_without_the_collector(channel: Any) -> None:
    gc.disable()
    try:
        await failure(channel.unary_unary("/test/Refuse")(b""))
        async with asyncio.timeout(20):
            while REFUSED[-1]() is not None:  # noqa: ASYNC110 - what it waits for has no event
                await asyncio.sleep(0.005)
    finally:
        gc.enable()
