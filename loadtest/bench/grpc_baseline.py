"""gRPC baseline: throughput of the same frames to a server that does nothing with them.

No Python server that speaks gRPC can be faster, so the node is compared with it, in the same run since a shared
machine's speed drifts. The server runs in a process of its own and answers every frame with an empty message; the
client sends one prepared frame again and again.
"""

import asyncio
import multiprocessing
import os
import time
from collections.abc import AsyncIterator
from multiprocessing.connection import Connection
from typing import Any, Final

import grpc
import uvloop
from grpc import aio

from loadtest.load.frame_source import FrameSource
from loadtest.load.workload import Workload
from loadtest.node.child_process import end_with_parent
from loadtest.node.leftovers import temporary_directory
from penstock.v1.txqueue_pb2 import SubmitStreamRequest
from services.runtime.grpc_tuning import children_read_where_it_is_awaited
from services.runtime.malloc_tuning import keep_large_messages_in_the_heap

_SERVICE: Final = "penstock.loadtest.Nothing"
_MESSAGE_BYTES_MAX: Final = 16 << 20
_IN_FLIGHT: Final = 4
"""Frames in flight, enough that neither side waits for the other."""
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", _MESSAGE_BYTES_MAX),
)


def measure_grpc_baseline(workload: Workload, *, seconds: float = 3.0, warmup_s: float = 0.5) -> float:
    """Transactions per second of a server that does nothing, in frames of the workload.

    Raises:
        ConnectionError: the server ended early.
    """
    keep_large_messages_in_the_heap()
    context = multiprocessing.get_context("spawn")
    with temporary_directory() as directory:
        target = f"unix:{directory / 'socket'}"
        ours, theirs = context.Pipe()
        server = context.Process(
            target=_serve_process, args=(target, theirs, os.getpid()), name="penstock no-op server", daemon=True
        )
        with children_read_where_it_is_awaited():
            server.start()
        theirs.close()
        try:
            ours.recv()
            return uvloop.run(_drive(target, workload, seconds, warmup_s))
        finally:
            ours.close()
            server.join(5.0)
            server.terminate()


def _serve_process(target: str, parent: Connection, parent_pid: int) -> None:
    end_with_parent(parent_pid)
    keep_large_messages_in_the_heap()
    uvloop.run(_serve(target, parent))


async def _serve(target: str, parent: Connection) -> None:
    async def answer(requests: AsyncIterator[bytes], _context: Any) -> AsyncIterator[bytes]:
        async for _ in requests:
            yield b""

    server = aio.server(options=_OPTIONS)
    handler = grpc.method_handlers_generic_handler(_SERVICE, {"Take": grpc.stream_stream_rpc_method_handler(answer)})
    server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(target)
    await server.start()
    parent.send("serving")
    await asyncio.to_thread(parent.poll, None)  # readable when the parent closes its end
    await server.stop(0)


async def _drive(target: str, workload: Workload, seconds: float, warmup_s: float) -> float:
    records, payloads = FrameSource(workload, 1).frame(0)
    frame = SubmitStreamRequest(frame_id=1, records=records.tobytes(), payloads=payloads.tobytes()).SerializeToString()
    room = asyncio.Semaphore(_IN_FLIGHT)
    answered = counted = 0
    started = counting_from = time.monotonic()
    async with aio.insecure_channel(target, options=_OPTIONS) as channel:
        call: aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(f"/{_SERVICE}/Take")()

        async def send() -> None:
            while True:
                await room.acquire()
                await call.write(frame)

        sending = asyncio.create_task(send())
        try:
            while (now := time.monotonic()) < started + warmup_s + seconds:
                if now < started + warmup_s:
                    counted, counting_from = answered, now
                if await call.read() is aio.EOF:
                    raise ConnectionError("the no-op server ended the stream")
                answered += 1
                room.release()
        finally:
            sending.cancel()
            call.cancel()
    return (answered - counted) * workload.frame / (now - counting_from)
