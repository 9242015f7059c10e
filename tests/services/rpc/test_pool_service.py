"""PoolService shows and sizes the pools, and lends buffers to processes of its own host alone."""

import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from penstock.contract.reasons import Reason
from penstock.v1 import pooling_pb2, pooling_pb2_grpc
from pooling.gc.gc_scheduler import GcScheduler
from replication.log.block import BLOCK_BYTES_MAX
from services.rpc.buffer_leases import BufferLeases
from services.rpc.pool_service import PoolService
from services.runtime.node_pools import NodePools
from services.settings.memory_settings import PoolingSettings
from tests.services.rpc.in_process import refused, retry_ms, serving

MINE = os.getpid()


class Served:
    """A service over a node's pools, of which it lends two buffers."""

    def __init__(self) -> None:
        self.pools = NodePools(PoolingSettings(messages=2))
        self.leases = BufferLeases(self.pools.messages)
        self.service = PoolService(self.pools, self.leases, GcScheduler())
        self.stub: Any = None

    async def pool(self, name: str) -> pooling_pb2.PoolMetrics:
        metrics = await self.stub.GetPoolMetrics(pooling_pb2.GetPoolMetricsRequest())
        found: dict[str, pooling_pb2.PoolMetrics] = {each.name: each for each in metrics.pools}
        return found[name]

    async def borrow(self, process_id: int = MINE, wait_ms: int = 0) -> pooling_pb2.BorrowBufferResponse:
        request = pooling_pb2.BorrowBufferRequest(process_id=process_id, wait_ms=wait_ms)
        response = await self.stub.BorrowBuffer(request)
        assert isinstance(response, pooling_pb2.BorrowBufferResponse)
        return response

    async def give_back(self, lease_id: int, process_id: int = MINE) -> None:
        await self.stub.ReturnBuffer(pooling_pb2.ReturnBufferRequest(process_id=process_id, lease_id=lease_id))


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    made = Served()
    async with serving(tmp_path, made.service.handler()) as channel:
        made.stub = pooling_pb2_grpc.PoolServiceStub(channel)
        yield made
    made.leases.close()
    made.pools.close()


async def failure(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_the_metrics_say_what_is_in_force(served: Served) -> None:
    assert (await served.pool("blocks")).max_total == (80 << 20) // BLOCK_BYTES_MAX == 17
    assert (await served.pool("transactions")).max_total == 10_000
    assert (await served.pool("messages")).max_total == 2


async def test_a_pool_is_resized_within_its_bounds(served: Served) -> None:
    resized = await served.stub.ResizePool(pooling_pb2.ResizePoolRequest(pool="blocks", max_total=8))
    assert resized.pool.max_total == 8
    for max_total in (0, 1_000_000):
        error = await failure(served.stub.ResizePool(pooling_pb2.ResizePoolRequest(pool="blocks", max_total=max_total)))
        assert refused(error) == (Reason.POOL_SIZE_INVALID, ["max_total"])


async def test_pools_are_cleared_and_sized(served: Served) -> None:
    served.pools.transactions.return_object(served.pools.transactions.borrow_object())
    cleared = await served.stub.ClearPool(pooling_pb2.ClearPoolRequest(pool="transactions"))
    assert cleared.destroyed == 1
    sized = await served.stub.OptimizePoolSizes(pooling_pb2.OptimizePoolSizesRequest())
    assert [each.name for each in sized.pools] == ["transactions", "blocks", "messages"]


async def test_an_unknown_pool_is_an_error_that_names_the_known_ones(served: Served) -> None:
    for call in (
        served.stub.ClearPool(pooling_pb2.ClearPoolRequest(pool="block")),
        served.stub.ResizePool(pooling_pb2.ResizePoolRequest(pool="block", max_total=0)),
    ):
        error = await failure(call)
        assert error.code() is grpc.StatusCode.NOT_FOUND
        assert refused(error) == (Reason.POOL_UNKNOWN, [])
        assert "transactions, blocks, messages" in str(error.details())


async def test_a_buffer_is_lent_once_until_it_is_returned(served: Served) -> None:
    first, second = await served.borrow(), await served.borrow()
    assert first.offset_bytes != second.offset_bytes
    assert first.size_bytes == 4096
    error = await failure(served.borrow(wait_ms=1))
    assert refused(error) == (Reason.POOL_EXHAUSTED, [])
    assert retry_ms(error) > 0
    await served.give_back(first.lease_id)
    assert (await served.borrow()).offset_bytes == first.offset_bytes
    error = await failure(served.give_back(first.lease_id))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert refused(error) == (Reason.LEASE_UNKNOWN, [])


async def test_a_borrower_that_cannot_be_watched_gets_nothing(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(await failure(served.borrow(process_id=(1 << 22) - 1))) == (
        Reason.BORROWER_UNKNOWN,
        ["process_id"],
    )

    def fail(_: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "pidfd_open", fail)
    error = await failure(served.borrow())
    assert refused(error) == (Reason.BORROWERS_TOO_MANY, [])
    assert retry_ms(error) > 0
    assert len(served.leases) == 0


async def test_a_closed_pool_means_that_the_node_is_shutting_down(served: Served) -> None:
    served.pools.manager.close()
    error = await failure(served.borrow())
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert refused(error) == (Reason.SHUTTING_DOWN, [])


@pytest.mark.parametrize("method", ["borrow_buffer", "return_buffer"])
@pytest.mark.parametrize("peer", ["ipv4:192.0.2.7:40000", "ipv6:[2001:db8::1]:4", "ipv4:10.127.0.1:1", "vsock:3:4"])
async def test_only_processes_of_this_host_borrow_and_return_buffers(served: Served, method: str, peer: str) -> None:
    class Elsewhere:
        def peer(self) -> str:
            return peer

        async def abort(self, code: grpc.StatusCode, details: str, **_: object) -> None:
            raise ConnectionRefusedError(code, details)

    lease_id, _ = await served.leases.borrow(MINE, 0)
    request = pooling_pb2.ReturnBufferRequest(process_id=MINE, lease_id=lease_id)  # a borrow looks no further
    with pytest.raises(ConnectionRefusedError, match=r"FAILED_PRECONDITION.*of the node's own host"):
        await getattr(served.service, method)(request, Elsewhere())
    assert len(served.leases) == 1
