"""A submit stream counts a frame as in flight until its receipt is written."""

import asyncio
from typing import Any

import grpc.aio

from penstock.contract.reasons import Reason
from penstock.v1 import txqueue_pb2
from services.refusal import Refusal
from services.rpc.limits.arriving_messages import ArrivingMessages
from services.rpc.submit_stream import SubmitStream


class Call:
    """The server's side of a stream: messages to read, and what was written, once it may be."""

    def __init__(self, *messages: bytes) -> None:
        self.messages = list(messages)
        self.written: list[bytes] = []
        self.may_write = asyncio.Event()
        self.may_write.set()

    async def read(self) -> Any:
        return self.messages.pop(0) if self.messages else grpc.aio.EOF

    async def write(self, message: bytes) -> None:
        await self.may_write.wait()
        self.written.append(message)


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def read_all(stream: SubmitStream, into: list[bytes]) -> None:
    async for message in stream.frames():
        into += [message]
    stream.end()


async def test_a_client_that_does_not_read_its_receipts_is_read_from_no_further() -> None:
    call, frames = Call(b"1", b"2", b"3"), list[bytes]()
    stream = SubmitStream(call, ArrivingMessages(), 2)  # type: ignore[arg-type]
    reader, writer = asyncio.create_task(read_all(stream, frames)), asyncio.create_task(stream.write_receipts())
    call.may_write.clear()
    await turns()
    stream.deliver(1, b"one")
    await turns()
    assert frames == [b"1", b"2"]
    call.may_write.set()
    await turns()
    assert frames == [b"1", b"2", b"3"]
    stream.deliver(2, b"two")
    stream.deliver(3, b"three")
    await asyncio.gather(reader, writer)
    assert call.written == [b"one", b"two", b"three"]


async def test_a_refusal_is_written_in_its_frame_s_place() -> None:
    call, frames = Call(b"1"), list[bytes]()
    stream = SubmitStream(call, ArrivingMessages(), 2)  # type: ignore[arg-type]
    await read_all(stream, frames)
    stream.deliver(77, Refusal(Reason.LOG_FULL))
    await stream.write_receipts()
    (written,) = call.written
    response = txqueue_pb2.SubmitStreamResponse.FromString(written)
    assert (response.frame_id, response.error.code) == (77, grpc.StatusCode.RESOURCE_EXHAUSTED.value[0])


async def test_an_ended_stream_takes_no_frame_and_returns_at_once() -> None:
    call, frames = Call(b"1"), list[bytes]()
    stream = SubmitStream(call, ArrivingMessages(), 2)  # type: ignore[arg-type]
    stream.end()
    await read_all(stream, frames)
    await stream.write_receipts()
    assert frames == []


async def test_a_frame_that_arrives_as_the_stream_ends_is_left_alone() -> None:
    call, frames = Call(b"1"), list[bytes]()
    stream = SubmitStream(call, ArrivingMessages(), 2)  # type: ignore[arg-type]
    read = call.read

    async def read_while_ending() -> Any:
        stream.end()
        return await read()

    call.read = read_while_ending  # type: ignore[method-assign]
    await read_all(stream, frames)
    assert frames == []
