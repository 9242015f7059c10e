"""Clients that misbehave, and logs that a node must not touch: each is told apart and harms nobody else."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from google.rpc import error_details_pb2

from penstock.client.async_client import AsyncClient
from penstock.contract import result_code
from penstock.v1 import state_pb2, state_pb2_grpc, txqueue_pb2, txqueue_pb2_grpc
from tests.eventually import eventually
from tests.frames import frame, rows, status_of
from tests.node.serve_process import ServeProcess

MIB = 1 << 20
BIG_FRAME = txqueue_pb2.SubmitStreamRequest(records=rows(10_000).tobytes()).SerializeToString()


def submit_one(node: ServeProcess, client_id: int, sequence: int = 1) -> txqueue_pb2.SubmitFrameResponse:
    with grpc.insecure_channel(node.target) as channel:
        stub = txqueue_pb2_grpc.TxQueueServiceStub(channel)
        return stub.SubmitFrame(frame(rows(1, client_id=client_id, sequence=sequence)), timeout=10)


def test_a_client_that_disconnects_mid_stream_harms_nobody(shared_node: ServeProcess) -> None:
    for _ in range(5):
        with grpc.insecure_channel(shared_node.target) as channel:
            call: Any = channel.stream_stream("/penstock.v1.TxQueueService/SubmitStream")(iter([BIG_FRAME] * 20))  # type: ignore[arg-type]
            next(iter(call))
            call.cancel()
    assert submit_one(shared_node, client_id=99).results == bytes([result_code.OK])


def test_a_client_that_never_reads_its_receipts_is_held_back_and_harms_nobody(shared_node: ServeProcess) -> None:
    taken = 0

    def frames() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield BIG_FRAME

    assert shared_node.process is not None
    # Receipts of 10 kB each fill the client's flow-control window soon.
    with grpc.insecure_channel(shared_node.target, options=[("grpc.http2.bdp_probe", 0)]) as channel:
        call: Any = channel.stream_stream("/penstock.v1.TxQueueService/SubmitStream")(frames())  # type: ignore[arg-type]
        before, changed_s = -1, time.monotonic()

        def is_held_back() -> bool:
            nonlocal before, changed_s
            if taken != before:
                before, changed_s = taken, time.monotonic()
            return time.monotonic() - changed_s >= 0.5

        eventually(is_held_back, "a node that reads no more")
        resident = psutil.Process(shared_node.process.pid).memory_info().rss
        for number in range(20):
            started = time.monotonic()
            assert submit_one(shared_node, client_id=1000 + number).results == bytes([result_code.OK])
            assert time.monotonic() - started < 1
        assert taken < 2000, "the node must stop reading from a client that reads nothing"
        assert resident < 600 * MIB
        call.cancel()
    assert submit_one(shared_node, client_id=2000).results == bytes([result_code.OK])


async def test_a_deadline_ends_the_call_and_a_retry_finds_the_outcome(shared_node: ServeProcess) -> None:
    request = frame(rows(3, client_id=7))
    assert shared_node.process is not None
    async with grpc.aio.insecure_channel(shared_node.target) as channel:
        stub = txqueue_pb2_grpc.TxQueueServiceStub(channel)
        await channel.channel_ready()
        shared_node.process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.SubmitFrame(request, timeout=0.2)
        finally:
            shared_node.process.send_signal(signal.SIGCONT)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        first = await stub.SubmitFrame(request, timeout=10)
        again = await stub.SubmitFrame(request, timeout=10)
    assert {code & 127 for code in first.results} == {result_code.OK}
    assert set(again.results) == {result_code.OK | result_code.DUPLICATE}


async def test_a_graceful_shutdown_answers_what_it_accepted(tmp_path: Path) -> None:
    with ServeProcess(tmp_path) as node:
        async with grpc.aio.insecure_channel(node.target) as channel:
            call: Any = channel.stream_stream("/penstock.v1.TxQueueService/SubmitStream")()
            for _ in range(10):
                await call.write(BIG_FRAME)
            await call.read()
            assert node.process is not None
            node.process.terminate()
            answered = 1
            while (message := await call.read()) is not grpc.aio.EOF:
                receipt = txqueue_pb2.SubmitStreamResponse.FromString(message)
                answered += not receipt.HasField("error")
        assert node.process.wait(20) == 0
        logged = answered * 10_000
        node.start()
        assert node.status().applied_transactions == logged, "accepted and answered are the same frames"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid():
        pytest.skip("mounting a small file system takes root")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(disk)], check=True)
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


async def _submit_until_taken(
    stub: "txqueue_pb2_grpc.TxQueueServiceAsyncStub", request: txqueue_pb2.SubmitFrameRequest
) -> None:
    """Do what RetryInfo asks for, for ten seconds."""
    for _ in range(100):
        try:
            await stub.SubmitFrame(request, timeout=30)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
            await asyncio.sleep(0.1)
        else:
            return
    raise AssertionError("freed space was not noticed")


async def test_a_full_disk_refuses_transactions_serves_reads_and_recovers_by_itself(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(8 * MIB))
    options = ("--set", "log.segment_bytes=8MiB", "--data-dir", str(small_disk / "data"))
    with ServeProcess(small_disk, *options) as node:
        async with grpc.aio.insecure_channel(node.target) as channel:
            stub = txqueue_pb2_grpc.TxQueueServiceStub(channel)
            accepted = 0

            async def fill() -> None:
                nonlocal accepted
                for number in range(200):
                    await stub.SubmitFrame(frame(rows(10_000, client_id=10 + number)), timeout=30)
                    accepted += 1

            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await fill()
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            status = status_of(caught.value)
            info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
            assert status.details[0].Unpack(info)
            assert status.details[1].Unpack(retry)
            assert info.reason == "LOG_FULL"
            read = await state_pb2_grpc.StateServiceStub(channel).Read(
                state_pb2.ReadRequest(key=state_pb2.Key(value=b"k")), timeout=10
            )
            assert not read.entry.found
            ballast.unlink()
            await _submit_until_taken(stub, frame(rows(10_000, client_id=9)))
            watched = 0
            watch = state_pb2_grpc.StateServiceStub(channel).Watch(state_pb2.WatchRequest(from_index=1), timeout=60)
            async for response in watch:
                watched += len(response.results)
                if watched == (accepted + 1) * 10_000:
                    break
            watch.cancel()
        assert node.status().applied_transactions == (accepted + 1) * 10_000
        assert node.stop() == 0


def test_a_log_in_use_by_another_node_is_refused(shared_node: ServeProcess, tmp_path: Path) -> None:
    second = ServeProcess(tmp_path, "--data-dir", str(shared_node.directory / "data"))
    code, output = second.fails_with()
    assert code == 1
    assert "in use by process" in output
    assert shared_node.process is not None
    assert str(shared_node.process.pid) in output


def test_a_log_of_another_cluster_is_refused(tmp_path: Path) -> None:
    with ServeProcess(tmp_path):
        pass
    code, output = ServeProcess(tmp_path, "--set", "node.cluster_id=2").fails_with()
    assert code == 1
    assert "belongs to cluster" in output


def test_a_corrupted_segment_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    with ServeProcess(tmp_path) as node:
        for client_id in range(1, 10):
            submit_one(node, client_id)
        node.stop()
    segment = min(node.log_directory.glob("*.segment"), default=None) or min(node.log_directory.glob("[0-9]*"))
    content = bytearray(segment.read_bytes())
    content[4096 * 3 + 140] ^= 1  # in the body of the third block
    segment.write_bytes(content)
    code, output = ServeProcess(tmp_path).fails_with()
    assert code == 1
    assert "is corrupted at offset" in output
    assert segment.read_bytes() == content


def test_what_a_killed_node_was_asked_to_hold_is_there_after_a_restart(tmp_path: Path) -> None:
    with ServeProcess(tmp_path) as node:
        for client_id in range(1, 20):
            submit_one(node, client_id)
        before = node.status(with_state_digest=True)
        node.kill()
        node.start()
        after = node.status(with_state_digest=True)
    assert (before.applied_transactions, before.effects_digest, before.state_digest) == (
        after.applied_transactions,
        after.effects_digest,
        after.state_digest,
    )


async def test_the_client_speaks_to_the_node(shared_node: ServeProcess) -> None:
    async with AsyncClient(shared_node.target) as client:
        receipt = await client.submit_frame(rows(100))
        assert set(receipt.results) == {result_code.OK}
