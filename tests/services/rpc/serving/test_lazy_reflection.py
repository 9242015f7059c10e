"""Reflection is not imported before somebody asks for it, and refuses what it cannot parse or hold."""

import subprocess
import sys
from pathlib import Path

import grpc.aio
import pytest
from grpc_reflection.v1alpha import reflection_pb2

from penstock.contract.reasons import Reason
from services.rpc.limits.arriving_messages import ArrivingMessages
from services.rpc.serving.lazy_reflection import OLDER_SERVICE, SERVICE, LazyReflection
from tests.services.rpc.in_process import refused, serving

Request = reflection_pb2.ServerReflectionRequest
Call = grpc.aio.StreamStreamCall[bytes, bytes]


def call(channel: grpc.aio.Channel, service: str = SERVICE) -> Call:
    method: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(f"/{service}/ServerReflectionInfo")
    return method()


@pytest.mark.parametrize("service", [SERVICE, OLDER_SERVICE])
async def test_a_message_that_cannot_be_parsed_is_bad_input(tmp_path: Path, service: str) -> None:
    async with serving(tmp_path, *LazyReflection([], ArrivingMessages()).handlers()) as channel:
        stream = call(channel, service)
        await stream.write(b"\x0a\x7f\x00")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream.read()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert refused(caught.value) == (Reason.REQUEST_MALFORMED, ["request"])


async def test_more_streams_than_may_be_open_are_refused_until_some_have_ended(tmp_path: Path) -> None:
    async with serving(tmp_path, *LazyReflection([], ArrivingMessages()).handlers()) as channel:
        streams = [call(channel) for _ in range(64)]
        for stream in streams:
            await stream.write(Request(list_services="").SerializeToString())
            await stream.read()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(channel).read()
        assert refused(caught.value) == (Reason.CALLS_LIMIT, [])
        await streams.pop().done_writing()
        for stream in streams:
            await stream.done_writing()
            assert await stream.read() is grpc.aio.EOF
        one_more = call(channel)
        await one_more.write(Request(list_services="").SerializeToString())
        assert await one_more.read() is not grpc.aio.EOF


def test_a_server_does_not_import_it() -> None:
    program = "import sys; import services.rpc.serving.server; assert 'grpc_reflection.v1alpha' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
