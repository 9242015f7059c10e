"""A node that has as many connections as it may have files goes on with its log."""

import asyncio
import resource
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

import grpc

from penstock.v1 import txqueue_pb2_grpc
from tests.eventually import eventually
from tests.frames import frame, rows
from tests.node.serve_process import ServeProcess

_LIMIT = 256
_FRAMES = 45
"""Of 640 kB each, in segments of 8 MiB: more than the two that stand prepared."""


def _open_files(process_id: int) -> int:
    return len(list(Path(f"/proc/{process_id}/fd").iterdir()))


async def test_idle_connections_that_take_all_descriptors_do_not_stop_the_log(tmp_path: Path) -> None:
    with ServeProcess(tmp_path, "--set", "log.segment_bytes=8MiB") as node, ExitStack() as idle:
        assert node.process is not None
        process_id = node.process.pid
        async with grpc.aio.insecure_channel(node.target) as channel:
            stub = txqueue_pb2_grpc.TxQueueServiceStub(channel)
            await stub.SubmitFrame(frame(rows(1)), timeout=30)
            resource.prlimit(process_id, resource.RLIMIT_NOFILE, (_LIMIT, _LIMIT))
            for _ in range(400):
                connection = idle.enter_context(socket.socket(socket.AF_UNIX))
                connection.setblocking(False)
                with suppress(BlockingIOError):
                    connection.connect(str(tmp_path / "node.sock"))
            await asyncio.to_thread(
                eventually, lambda: _open_files(process_id) >= _LIMIT - 8, "the end of the descriptors"
            )
            for number in range(_FRAMES):
                await _submit(stub, 10 + number)
            assert _open_files(process_id) >= _LIMIT - 8, "they are still taken"
        idle.close()
        assert node.status().applied_transactions == 1 + _FRAMES * 10_000
        assert node.stop() == 0
        assert len(list(node.log_directory.glob("*.segment"))) > _FRAMES * 640_000 // (8 << 20)


async def _submit(stub: "txqueue_pb2_grpc.TxQueueServiceAsyncStub", client_id: int) -> None:
    """Submit a frame until it is taken; it may be refused for a while, but not fail."""
    for _ in range(100):
        try:
            await stub.SubmitFrame(frame(rows(10_000, client_id=client_id)), timeout=30)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
            await asyncio.sleep(0.05)
        else:
            return
    raise AssertionError("the log did not go on")
