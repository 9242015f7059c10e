"""Methods with typed requests refuse what they cannot parse like any bad input, not with UNKNOWN."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from penstock.contract.reasons import Reason
from penstock.v1 import state_pb2
from services.rpc.handlers import ServiceHandler, streaming_method, unary_method
from services.rpc.rich_status import Context
from tests.services.rpc.in_process import refused, serving

CUT_SHORT = b"\x0a\x7f\x00"


@pytest.fixture
async def channel(tmp_path: Path) -> AsyncIterator[grpc.aio.Channel]:
    async def read(request: state_pb2.ReadRequest, _: Context) -> state_pb2.ReadResponse:
        return state_pb2.ReadResponse(log_index=request.key.namespace)

    async def watch(request: state_pb2.WatchRequest, _: Context) -> AsyncIterator[bytes]:
        for index in range(request.from_index, 3):
            yield state_pb2.WatchResponse(log_index=index).SerializeToString()

    handler = ServiceHandler(
        "test.Service",
        {"Read": unary_method(read, state_pb2.ReadRequest), "Watch": streaming_method(watch, state_pb2.WatchRequest)},
    )
    async with serving(tmp_path, handler) as open_channel:
        yield open_channel


async def test_requests_and_responses_are_messages(channel: grpc.aio.Channel) -> None:
    read: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/test.Service/Read")
    request = state_pb2.ReadRequest(key=state_pb2.Key(namespace=9))
    assert state_pb2.ReadResponse.FromString(await read(request.SerializeToString())).log_index == 9
    watch: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream("/test.Service/Watch")
    found = [
        state_pb2.WatchResponse.FromString(message).log_index
        async for message in watch(state_pb2.WatchRequest(from_index=1).SerializeToString())
    ]
    assert found == [1, 2]


@pytest.mark.parametrize("method", ["Read", "Watch"])
async def test_a_message_that_cannot_be_parsed_is_bad_input(channel: grpc.aio.Channel, method: str) -> None:
    make: Any = channel.unary_unary if method == "Read" else channel.unary_stream
    call = make(f"/test.Service/{method}")(CUT_SHORT)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await (call if method == "Read" else call.read())
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert refused(caught.value) == (Reason.REQUEST_MALFORMED, ["request"])
    assert "penstock.v1." in str(caught.value.details())
