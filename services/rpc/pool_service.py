"""``penstock.v1.PoolService``: metrics and sizes of the node's pools, and buffers lent to processes of its host."""

import asyncio
from dataclasses import asdict
from typing import Any, Final

from penstock.contract.reasons import Reason
from penstock.v1 import pooling_pb2
from pooling.core.errors import BudgetTooSmall, PoolClosed, PoolExhausted, PoolUnknown
from pooling.core.object_pool import ObjectPool
from pooling.core.pool_metrics import PoolMetrics
from pooling.gc.gc_scheduler import GcScheduler
from services.refusal import Refusal
from services.rpc.buffer_leases import BorrowersTooMany, BorrowerUnknown, BufferLeases, LeaseUnknown
from services.rpc.handlers import ServiceHandler, unary_method
from services.rpc.rich_status import Context, abort
from services.runtime.node_pools import NodePools

SERVICE: Final = "penstock.v1.PoolService"

_WAIT_MS_MAX: Final = 60_000


class PoolService:
    """Shows and changes a node's pools, and lends from one. What may take long runs in a thread, as pools allow."""

    def __init__(self, pools: NodePools, leases: BufferLeases, gc_scheduler: GcScheduler) -> None:
        self._node_pools = pools
        self._pools = pools.manager
        self._leases = leases
        self._gc_scheduler = gc_scheduler

    def handler(self) -> ServiceHandler:
        """The service's methods."""
        return ServiceHandler(
            SERVICE,
            {
                "GetPoolMetrics": unary_method(self.get_pool_metrics, pooling_pb2.GetPoolMetricsRequest),
                "ResizePool": unary_method(self.resize_pool, pooling_pb2.ResizePoolRequest),
                "ClearPool": unary_method(self.clear_pool, pooling_pb2.ClearPoolRequest),
                "OptimizePoolSizes": unary_method(self.optimize_pool_sizes, pooling_pb2.OptimizePoolSizesRequest),
                "BorrowBuffer": unary_method(self.borrow_buffer, pooling_pb2.BorrowBufferRequest),
                "ReturnBuffer": unary_method(self.return_buffer, pooling_pb2.ReturnBufferRequest),
            },
        )

    async def get_pool_metrics(
        self, _: pooling_pb2.GetPoolMetricsRequest, __: Context
    ) -> pooling_pb2.GetPoolMetricsResponse:
        """Give the metrics of all pools, and the pauses of garbage collection."""
        pauses = self._gc_scheduler.get_metrics()
        return pooling_pb2.GetPoolMetricsResponse(
            pools=[_message_of(metrics) for metrics in self._pools.get_pool_metrics()],
            gc_pauses=pooling_pb2.GcPauses(**asdict(pauses)),
        )

    async def resize_pool(
        self, request: pooling_pb2.ResizePoolRequest, context: Context
    ) -> pooling_pb2.ResizePoolResponse:
        """Change how many objects a pool has at most."""
        pool = await self._find(request.pool, context)
        if not request.max_total:
            await abort(context, Refusal(Reason.POOL_SIZE_INVALID, field="max_total"))
        try:
            await asyncio.to_thread(self._pools.resize_pool, request.pool, request.max_total)
        except BudgetTooSmall as error:
            await abort(context, Refusal(Reason.POOL_SIZE_INVALID, str(error), field="max_total"))
        return pooling_pb2.ResizePoolResponse(pool=_message_of(pool.get_metrics()))

    async def clear_pool(
        self, request: pooling_pb2.ClearPoolRequest, context: Context
    ) -> pooling_pb2.ClearPoolResponse:
        """Destroy a pool's idle objects."""
        pool = await self._find(request.pool, context)
        return pooling_pb2.ClearPoolResponse(destroyed=await asyncio.to_thread(pool.clear))

    async def optimize_pool_sizes(
        self, _: pooling_pb2.OptimizePoolSizesRequest, __: Context
    ) -> pooling_pb2.OptimizePoolSizesResponse:
        """Size every pool for the demand to come."""
        resized = await asyncio.to_thread(self._pools.optimize_pool_sizes)
        return pooling_pb2.OptimizePoolSizesResponse(
            pools=[pooling_pb2.PoolSizing(**each._asdict()) for each in resized]
        )

    async def borrow_buffer(
        self, request: pooling_pb2.BorrowBufferRequest, context: Context
    ) -> pooling_pb2.BorrowBufferResponse:
        """Lend a shared buffer for as long as its borrower lives."""
        await _check_local(context)
        await asyncio.to_thread(self._node_pools.open_shared)
        try:
            lease_id, buffer = await self._leases.borrow(request.process_id, min(request.wait_ms, _WAIT_MS_MAX) / 1000)
        except BorrowerUnknown as error:
            await abort(context, Refusal(Reason.BORROWER_UNKNOWN, str(error), field="process_id"))
        except BorrowersTooMany as error:
            await abort(context, Refusal(Reason.BORROWERS_TOO_MANY, str(error)))
        except PoolExhausted as error:
            await abort(context, Refusal(Reason.POOL_EXHAUSTED, str(error)))
        except PoolClosed:
            await abort(context, Refusal(Reason.SHUTTING_DOWN))
        return pooling_pb2.BorrowBufferResponse(
            lease_id=lease_id, path=str(buffer.path), offset_bytes=buffer.offset_bytes, size_bytes=buffer.size_bytes
        )

    async def return_buffer(
        self, request: pooling_pb2.ReturnBufferRequest, context: Context
    ) -> pooling_pb2.ReturnBufferResponse:
        """Take a lent buffer back."""
        await _check_local(context)
        try:
            self._leases.give_back(request.process_id, request.lease_id)
        except LeaseUnknown as error:
            await abort(context, Refusal(Reason.LEASE_UNKNOWN, str(error)))
        return pooling_pb2.ReturnBufferResponse()

    async def _find(self, name: str, context: Context) -> ObjectPool[Any]:
        try:
            return self._pools.pool(name)
        except PoolUnknown as error:
            await abort(context, Refusal(Reason.POOL_UNKNOWN, str(error)))


async def _check_local(context: Context) -> None:
    if not _is_of_this_host(context.peer()):
        await abort(context, Refusal(Reason.NOT_LOCAL))


def _is_of_this_host(peer: str) -> bool:
    return peer.startswith(("unix:", "ipv4:127.", "ipv6:[::1]", "ipv6:%5B::1%5D"))


def _message_of(metrics: PoolMetrics) -> pooling_pb2.PoolMetrics:
    return pooling_pb2.PoolMetrics(**asdict(metrics))
