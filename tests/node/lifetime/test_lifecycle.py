"""However a node ends, it ends; and what it cannot hold it does not take."""

import asyncio
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from penstock.contract import opcode, result_code
from penstock.contract.result_code import DUPLICATE, SESSIONS_EXHAUSTED
from penstock.v1 import node_pb2, node_pb2_grpc, state_pb2, state_pb2_grpc, txqueue_pb2_grpc
from tests.frames import frame, rows, status_of
from tests.node.serve_process import ServeProcess

MIB = 1 << 20


async def test_a_node_stops_while_it_is_asked_for_its_status_all_the_time(node: ServeProcess) -> None:
    asking = True

    async def ask() -> None:
        async with grpc.aio.insecure_channel(node.target) as channel:
            stub = node_pb2_grpc.NodeServiceStub(channel)
            while asking:
                try:
                    await stub.GetStatus(node_pb2.GetStatusRequest(), timeout=5)
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0.01)

    askers = [asyncio.create_task(ask()) for _ in range(6)]
    await asyncio.sleep(0.3)
    assert await asyncio.to_thread(node.stop, 20) == 0
    asking = False
    await asyncio.gather(*askers)


@pytest.fixture
async def small_state(tmp_path: Path) -> AsyncIterator[tuple[ServeProcess, grpc.aio.Channel]]:
    with ServeProcess(tmp_path, "--set", "state.bytes_max=64MiB") as node:
        async with grpc.aio.insecure_channel(node.target) as channel:
            yield node, channel


async def test_full_tables_refuse_frames_and_never_stop_the_node(
    small_state: tuple[ServeProcess, grpc.aio.Channel],
) -> None:
    node, channel = small_state
    stub = txqueue_pb2_grpc.TxQueueServiceStub(channel)
    value = bytes(MIB - 64)
    taken = 0

    async def fill() -> None:
        nonlocal taken
        for number in range(100):
            put = rows(1, client_id=1, sequence=number + 1, operation=opcode.PUT, operand_hi=8, key_lo=number + 1)
            put["payload_length"] = len(value)
            await stub.SubmitFrame(frame(put, value), timeout=10)
            taken += 1

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await fill()
    assert 20 < taken < 64
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert b"STATE_FULL" in status_of(caught.value).SerializeToString()
    status = node.status()
    assert status.condition == "degraded: tables_full"
    assert [condition.name for condition in status.conditions] == ["tables_full"]
    health = health_pb2_grpc.HealthStub(channel)
    for service, expected in (
        ("penstock.v1.TxQueueService", health_pb2.HealthCheckResponse.NOT_SERVING),
        ("", health_pb2.HealthCheckResponse.NOT_SERVING),
        ("penstock.v1.StateService", health_pb2.HealthCheckResponse.SERVING),
        ("penstock.v1.NodeService", health_pb2.HealthCheckResponse.SERVING),
    ):
        assert (await health.Check(health_pb2.HealthCheckRequest(service=service))).status == expected, service
    assert (await stub.SubmitFrame(frame(rows(1, client_id=2)), timeout=10)).results == bytes([result_code.OK])
    node.stop()
    node.start()
    assert node.status().applied_transactions == taken + 1


async def test_keys_made_to_collide_do_not_stop_the_node(shared_node: ServeProcess) -> None:
    """What stopped a node for good while its hash was public: accounts that it could not tell apart by their hashes."""
    accounts = rows(10_000, client_id=3, operation=opcode.OPEN_ACCOUNT)
    accounts["key_lo"] = np.arange(10_000, dtype=np.uint64) << np.uint64(50)
    async with grpc.aio.insecure_channel(shared_node.target) as channel:
        receipt = await txqueue_pb2_grpc.TxQueueServiceStub(channel).SubmitFrame(frame(accounts), timeout=10)
    assert set(receipt.results) == {result_code.OK}


async def test_an_answer_that_would_be_too_large_is_refused_before_it_is_made(shared_node: ServeProcess) -> None:
    value = bytes(MIB - 64)
    put = rows(1, client_id=4, operation=opcode.PUT, operand_hi=1, key_lo=65, payload_length=len(value))
    async with grpc.aio.insecure_channel(shared_node.target) as channel:
        await txqueue_pb2_grpc.TxQueueServiceStub(channel).SubmitFrame(frame(put, value), timeout=10)
        keys = [state_pb2.Key(value=b"A")] * 5000
        before = shared_node.status().resident_bytes
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await state_pb2_grpc.StateServiceStub(channel).BatchRead(state_pb2.BatchReadRequest(keys=keys), timeout=10)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert shared_node.status().resident_bytes < before + 64 * MIB


def test_bounds_on_sessions_change_with_the_settings_by_a_transaction_of_the_log(tmp_path: Path) -> None:
    """After 65,536 invented ids new clients were refused for the horizon, and the bound could not be raised."""
    few = ("--set", "state.session_capacity=2", "--set", "state.bytes_max=64MiB")
    with ServeProcess(tmp_path, *few) as node, grpc.insecure_channel(node.target) as channel:
        stub = txqueue_pb2_grpc.TxQueueServiceStub(channel)
        answers = [stub.SubmitFrame(frame(rows(1, client_id=number)), timeout=10).results for number in (1, 2, 3)]
        assert answers == [b"\x01", b"\x01", bytes([SESSIONS_EXHAUSTED])]
    many = ("--set", "state.session_capacity=3", "--set", "state.bytes_max=64MiB")
    with ServeProcess(tmp_path, *many) as node, grpc.insecure_channel(node.target) as channel:
        stub = txqueue_pb2_grpc.TxQueueServiceStub(channel)
        answers = [stub.SubmitFrame(frame(rows(1, client_id=number)), timeout=10).results for number in (3, 1, 4)]
        assert answers == [b"\x01", bytes([1 | DUPLICATE]), bytes([SESSIONS_EXHAUSTED])]
    with ServeProcess(tmp_path, *many) as node, grpc.insecure_channel(node.target) as channel:
        status = node_pb2_grpc.NodeServiceStub(channel).GetStatus(node_pb2.GetStatusRequest(), timeout=10)
        assert status.applied_transactions == 7, "six submitted, and the bounds once"


def test_a_second_node_that_is_refused_leaves_the_first_ones_results(shared_node: ServeProcess, tmp_path: Path) -> None:
    with grpc.insecure_channel(shared_node.target) as channel:
        stub = txqueue_pb2_grpc.TxQueueServiceStub(channel)
        receipt = stub.SubmitFrame(frame(rows(5, client_id=6)), timeout=10)
        code, _ = ServeProcess(tmp_path, "--data-dir", str(shared_node.directory / "data")).fails_with()
        assert code == 1
        watch = state_pb2_grpc.StateServiceStub(channel).Watch(
            state_pb2.WatchRequest(from_index=receipt.log_index, effective_only=True), timeout=10
        )
        assert next(iter(watch)).results == bytes([result_code.OK]) * 5
        watch.cancel()


def test_a_node_raises_its_soft_limit_of_descriptors_and_says_so(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    try:
        node = ServeProcess(tmp_path)
        node.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    status = node.status()
    node.stop()
    assert status.descriptors_max == before[1]
    assert 5 < status.descriptors_used < 200
