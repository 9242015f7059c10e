"""A node lends shared buffers to processes of its host, and has them back however their borrower ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2

from penstock.v1 import pooling_pb2, pooling_pb2_grpc, txqueue_pb2_grpc
from pooling.shared_buffers import SharedBuffer, map_buffer
from tests.eventually import eventually
from tests.frames import frame, status_of, transfers
from tests.node.serve_process import ServeProcess

Stub = pooling_pb2_grpc.PoolServiceStub
BORROWER = [sys.executable, "-c", "import sys; sys.stdin.read()"]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    with ServeProcess(tmp_path_factory.mktemp("node"), "--set", "pooling.messages=3") as node:
        yield node


@pytest.fixture
def stub(running: ServeProcess) -> Iterator[Stub]:
    with grpc.insecure_channel(running.target) as channel:
        yield Stub(channel)


def pool(stub: Stub, name: str) -> pooling_pb2.PoolMetrics:
    metrics = stub.GetPoolMetrics(pooling_pb2.GetPoolMetricsRequest(), timeout=10)
    return {each.name: each for each in metrics.pools}[name]


def borrow(stub: Stub, process_id: int, wait_ms: int = 0) -> pooling_pb2.BorrowBufferResponse:
    request = pooling_pb2.BorrowBufferRequest(process_id=process_id, wait_ms=wait_ms)
    return stub.BorrowBuffer(request, timeout=60)  # the first one loads compiled code


def give_back(stub: Stub, process_id: int, lease_id: int) -> None:
    stub.ReturnBuffer(pooling_pb2.ReturnBufferRequest(process_id=process_id, lease_id=lease_id), timeout=10)


def reason_of(error: grpc.RpcError) -> str:
    info = error_details_pb2.ErrorInfo()
    assert status_of(error).details[0].Unpack(info)
    return str(info.reason)


def mapped(lease: pooling_pb2.BorrowBufferResponse) -> SharedBuffer:
    return SharedBuffer(0, Path(lease.path), lease.offset_bytes, lease.size_bytes)


def until_idle(stub: Stub) -> None:
    eventually(lambda: not pool(stub, "messages").in_use, "what a dead borrower had")


@pytest.fixture
def borrower() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(BORROWER, stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_the_typed_pools_are_there_and_the_pipeline_uses_them(running: ServeProcess, stub: Stub) -> None:
    with grpc.insecure_channel(running.target) as channel:
        for client_id in range(1, 20):
            txqueue_pb2_grpc.TxQueueServiceStub(channel).SubmitFrame(
                frame(transfers(100, client_id=client_id)), timeout=10
            )
    blocks = pool(stub, "blocks")
    assert blocks.borrows >= 19
    assert blocks.made <= 3, "one after the other, the blocks are built in the same memory"
    assert blocks.recycled == blocks.borrows - blocks.misses
    assert pool(stub, "transactions").max_total == 10_000


def test_pools_can_be_resized_within_the_budget(stub: Stub) -> None:
    request = pooling_pb2.ResizePoolRequest(pool="blocks", max_total=8)
    assert stub.ResizePool(request, timeout=10).pool.max_total == 8
    for max_total in (0, 1_000_000):
        with pytest.raises(grpc.RpcError) as caught:
            stub.ResizePool(pooling_pb2.ResizePoolRequest(pool="blocks", max_total=max_total), timeout=10)
        assert reason_of(caught.value) == "POOL_SIZE_INVALID"


def test_pools_can_be_cleared_and_sized(stub: Stub) -> None:
    cleared = stub.ClearPool(pooling_pb2.ClearPoolRequest(pool="blocks"), timeout=10)
    assert cleared.destroyed >= 1
    assert pool(stub, "blocks").idle == 0
    sized = stub.OptimizePoolSizes(pooling_pb2.OptimizePoolSizesRequest(), timeout=10)
    assert [each.name for each in sized.pools] == ["transactions", "blocks", "messages"]


def test_an_unknown_pool_is_an_error_that_names_the_known_ones(stub: Stub) -> None:
    with pytest.raises(grpc.RpcError, match="transactions, blocks, messages") as caught:
        stub.ClearPool(pooling_pb2.ClearPoolRequest(pool="block"), timeout=10)
    assert reason_of(caught.value) == "POOL_UNKNOWN"


@pytest.mark.parametrize("name", ["", "x" * 10_000, "\0\n\u20ac"])
def test_a_name_that_cannot_be_a_pool_s_is_as_unknown(stub: Stub, name: str) -> None:
    for call in (
        lambda: stub.ClearPool(pooling_pb2.ClearPoolRequest(pool=name), timeout=10),
        lambda: stub.ResizePool(pooling_pb2.ResizePoolRequest(pool=name, max_total=(1 << 64) - 1), timeout=10),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert reason_of(caught.value) == "POOL_UNKNOWN"


def test_the_collector_tells_its_pauses(stub: Stub) -> None:
    def pauses_of_the_node() -> pooling_pb2.GcPauses:
        return stub.GetPoolMetrics(pooling_pb2.GetPoolMetricsRequest(), timeout=10).gc_pauses

    eventually(lambda: pauses_of_the_node().count, "a full collection in a quiet moment")
    pauses = pauses_of_the_node()
    assert 0 < pauses.p50_ns <= pauses.p999_ns <= pauses.max_ns


def test_two_processes_see_each_other_s_bytes_through_a_lent_buffer(stub: Stub) -> None:
    lease = borrow(stub, os.getpid())
    assert lease.size_bytes == 4096
    program = (
        "import sys; from pathlib import Path; from pooling.shared_buffers import *\n"
        f"buffer = SharedBuffer(0, Path({lease.path!r}), {lease.offset_bytes}, {lease.size_bytes})\n"
        "map_buffer(buffer)[:5] = list(b'hello')"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    view = map_buffer(mapped(lease))
    assert bytes(view[:6]) == b"hello\0"
    give_back(stub, os.getpid(), lease.lease_id)
    assert not map_buffer(mapped(lease)).any(), "a returned buffer is zeroed"


def test_buffers_of_a_killed_borrower_come_back(stub: Stub, borrower: "subprocess.Popen[bytes]") -> None:
    leases = [borrow(stub, borrower.pid) for _ in range(3)]
    assert len({lease.offset_bytes for lease in leases}) == 3
    with pytest.raises(grpc.RpcError) as caught:
        borrow(stub, os.getpid())
    assert reason_of(caught.value) == "POOL_EXHAUSTED"
    borrower.send_signal(signal.SIGKILL)
    until_idle(stub)
    assert pool(stub, "messages").idle == 3


def test_a_waiting_borrower_gets_what_a_dead_one_had(stub: Stub, borrower: "subprocess.Popen[bytes]") -> None:
    for _ in range(3):
        borrow(stub, borrower.pid)
    waiting = stub.BorrowBuffer.future(pooling_pb2.BorrowBufferRequest(process_id=os.getpid(), wait_ms=10_000))
    eventually(lambda: pool(stub, "messages").waiters, "the waiting borrower")
    assert not waiting.done()
    borrower.kill()
    give_back(stub, os.getpid(), waiting.result(10).lease_id)
    until_idle(stub)


def test_borrowers_killed_at_random_leak_nothing(stub: Stub) -> None:
    for round_ in range(10):
        processes = [subprocess.Popen(BORROWER, stdin=subprocess.PIPE) for _ in range(2)]
        calls = [
            stub.BorrowBuffer.future(pooling_pb2.BorrowBufferRequest(process_id=process.pid, wait_ms=2000))
            for process in processes
            for _ in range(3)
        ]
        for _ in range(round_):
            pool(stub, "messages")  # takes about a millisecond
        for process in processes:
            process.kill()
        for call in calls:
            call.exception()
        for process in processes:
            process.communicate()
    until_idle(stub)
    assert pool(stub, "messages").waiters == 0
    assert pool(stub, "messages").size <= 3


@pytest.mark.parametrize("process_id", [0, 1 << 31, (1 << 22) - 1])
def test_a_borrower_that_does_not_exist_is_refused(stub: Stub, process_id: int) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        borrow(stub, process_id)
    assert reason_of(caught.value) == "BORROWER_UNKNOWN"


def test_a_lease_is_returned_once_and_by_its_borrower(stub: Stub, borrower: "subprocess.Popen[bytes]") -> None:
    lease = borrow(stub, borrower.pid)
    with pytest.raises(grpc.RpcError) as foreign:
        give_back(stub, os.getpid(), lease.lease_id)
    assert reason_of(foreign.value) == "LEASE_UNKNOWN"
    give_back(stub, borrower.pid, lease.lease_id)
    with pytest.raises(grpc.RpcError) as twice:
        give_back(stub, borrower.pid, lease.lease_id)
    assert reason_of(twice.value) == "LEASE_UNKNOWN"
