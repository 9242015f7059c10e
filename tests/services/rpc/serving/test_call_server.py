"""The call server takes calls whatever other calls are like, and says so where it cannot any more."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
import pytest

from loadtest.attack.http2_socket import DATA, HEADERS, call_headers, frame, message_head, opening
from penstock.contract.reasons import Reason
from services.rpc.handlers import ServiceHandler
from services.rpc.serving.call_server import CallServer
from tests.services.rpc.in_process import refused

END_STREAM = 1
NO_UTF_8 = "/test.Service/\udce9cho"


class Held:
    """Calls that are answered when the test says so."""

    def __init__(self) -> None:
        self.came: asyncio.Queue[bytes] = asyncio.Queue()
        self.may_answer = asyncio.Event()

    async def answer(self, message: bytes, _: object) -> bytes:
        self.came.put_nowait(message)
        await self.may_answer.wait()
        return message


async def echo(message: bytes, _: object) -> bytes:
    return message


@asynccontextmanager
async def serving(
    directory: Path,
    held: Held | None = None,
    calls_max: int = 100,
    server_class: type[CallServer] = CallServer,
    on_failure: Callable[[Exception], None] = lambda error: pytest.fail(repr(error)),
) -> AsyncIterator[grpc.aio.Channel]:
    methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Echo": grpc.unary_unary_rpc_method_handler(echo),
        "Held": grpc.unary_unary_rpc_method_handler((held or Held()).answer),
    }
    service = ServiceHandler("test.Service", methods)
    server = server_class([service], (), calls_max=calls_max, on_failure=on_failure)
    server.add_insecure_port(f"unix:{directory}/s")
    await server.start()
    async with grpc.aio.insecure_channel(f"unix:{directory}/s") as channel:
        yield channel
    await server.shutdown(0)


async def call(channel: grpc.aio.Channel, name: str, metadata: tuple[tuple[str, str], ...] = ()) -> bytes:
    method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/test.Service/{name}")
    return await method(b"message", metadata=metadata)


async def call_by_hand(directory: Path, head: bytes) -> bytes:
    """Send a call's headers and one message, and give what comes back until the call's end."""
    reader, writer = await asyncio.open_unix_connection(f"{directory}/s")
    writer.write(opening() + head + frame(DATA, END_STREAM, 1, message_head(0)))
    content = b""
    while not content.endswith(b"the end"):
        length = int.from_bytes(await reader.readexactly(3), "big")
        kind, flags, *_ = await reader.readexactly(6)
        content += await reader.readexactly(length)
        if kind == HEADERS and flags & END_STREAM:
            content += b"the end"
    writer.close()
    return content


async def test_a_method_s_name_that_is_no_utf_8_is_refused_and_others_go_on(tmp_path: Path) -> None:
    async with serving(tmp_path) as channel:
        assert await call(channel, "Echo") == b"message"
        for _ in range(3):
            answer = await asyncio.wait_for(call_by_hand(tmp_path, call_headers(1, NO_UTF_8)), 10)
            assert Reason.METHOD_UNKNOWN.meaning.encode() in answer
        assert await call(channel, "Echo") == b"message"
        async with grpc.aio.insecure_channel(f"unix:{tmp_path}/s", [("grpc.use_local_subchannel_pool", 1)]) as another:
            assert await call(another, "Echo") == b"message", "new clients come in"


async def test_metadata_that_is_no_utf_8_is_taken_and_does_not_fill_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path) as channel:
        odd = call_headers(1, "/test.Service/Echo", {"x-name": "Andr\udce9"})
        with caplog.at_level(logging.DEBUG):
            await asyncio.wait_for(call_by_hand(tmp_path, odd), 10)
        assert await call(channel, "Echo") == b"message"
    assert not [record for record in caplog.records if record.exc_info]


async def test_more_calls_than_may_be_open_are_refused_with_a_reason_until_some_have_ended(tmp_path: Path) -> None:
    held = Held()
    async with serving(tmp_path, held, calls_max=2) as channel:
        calls = [asyncio.ensure_future(call(channel, "Held")) for _ in range(2)]
        for _ in calls:
            await held.came.get()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(channel, "Echo")
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refused(caught.value) == (Reason.CALLS_LIMIT, [])
        held.may_answer.set()
        assert await asyncio.gather(*calls) == [b"message"] * 2
        assert await call(channel, "Echo") == b"message"


async def test_one_method_s_calls_do_not_wait_for_another_s(tmp_path: Path) -> None:
    held = Held()
    async with serving(tmp_path, held) as channel:
        calls = [asyncio.ensure_future(call(channel, "Held")) for _ in range(50)]
        assert await asyncio.wait_for(call(channel, "Echo"), 10) == b"message"
        held.may_answer.set()
        await asyncio.gather(*calls)


async def test_a_server_that_can_take_no_more_calls_says_why_and_can_be_stopped(tmp_path: Path) -> None:
    class Broken(CallServer):
        async def _request_registered_call(self, method: bytes) -> object:
            if method.endswith(b"Held"):
                raise RuntimeError("no more calls")
            return await super()._request_registered_call(method)

    failed: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
    async with serving(tmp_path, server_class=Broken, on_failure=failed.set_result):
        failure = await asyncio.wait_for(failed, 10)
    assert isinstance(failure, ExceptionGroup)
    assert [str(error) for error in failure.exceptions] == ["no more calls"]
