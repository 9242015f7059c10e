"""Maintenance: garbage collection, upkeep and sizing of the pools, and their counters, at intervals."""

import asyncio
from typing import Final

from pooling.gc.gc_scheduler import GcScheduler
from pooling.manager import ObjectPoolManager
from services.settings.memory_settings import PoolingSettings
from services.telemetry.counters import Counter, Counters

_LONG_PAUSES: Final = ((1_000_000, Counter.GC_PAUSES_OVER_1MS), (10_000_000, Counter.GC_PAUSES_OVER_10MS))


class Maintenance:
    """Runs in the event loop, by the loop's time, from `start` to `stop`."""

    def __init__(
        self,
        pools: ObjectPoolManager,
        counters: Counters,
        settings: PoolingSettings,
        *,
        tick_s: float = 0.05,
        upkeep_s: float = 1.0,
    ) -> None:
        """Maintain these pools.

        Args:
            pools: all pools of the node.
            counters: of pools and of pauses.
            settings: how garbage is collected, and how often pools are sized.
            tick_s: seconds between decisions on collecting garbage: short enough to find idle moments, long enough to
                cost nothing.
            upkeep_s: seconds between upkeeps of the pools.
        """
        self._pools = pools
        self._counters = counters
        self._settings = settings
        self._tick_s = tick_s
        self._upkeep_s = upkeep_s
        self.gc_scheduler: Final = GcScheduler(self._count_pause)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Take garbage collection over, or only measure it where the settings say so, and begin."""
        self.gc_scheduler.start(take_over=self._settings.gc_schedule == "idle")
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End, and give garbage collection back to Python."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        self.gc_scheduler.stop()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        upkeep_at = loop.time() + self._upkeep_s
        optimize_at = loop.time() + self._settings.optimize_interval_s
        received = 0
        while True:
            await asyncio.sleep(self._tick_s)
            received_before, received = received, self._counters[Counter.FRAMES_RECEIVED]
            in_flight = self._counters[Counter.FRAMES_ENQUEUED] > self._counters[Counter.FRAMES_ANSWERED]
            self.gc_scheduler.tick(busy=in_flight or received > received_before)
            now = loop.time()
            if now >= upkeep_at:
                upkeep_at = now + self._upkeep_s
                await asyncio.to_thread(self._keep_pools)
            if self._settings.optimize_interval_s and now >= optimize_at:
                optimize_at = now + self._settings.optimize_interval_s
                await asyncio.to_thread(self._pools.optimize_pool_sizes)

    def _keep_pools(self) -> None:
        self._pools.maintain()
        all_metrics = self._pools.get_pool_metrics()
        put = self._counters.put
        put(Counter.POOL_OBJECTS_MADE, sum(metrics.made for metrics in all_metrics))
        put(Counter.POOL_BORROWS_RECYCLED, sum(metrics.recycled for metrics in all_metrics))
        put(Counter.POOL_BORROWS_MISSED, sum(metrics.misses for metrics in all_metrics))
        put(Counter.POOL_OBJECTS_IN_USE, sum(metrics.in_use for metrics in all_metrics))
        put(Counter.POOL_OBJECTS_IDLE, sum(metrics.idle for metrics in all_metrics))
        put(Counter.POOLS_ACTIVE, sum(metrics.borrows > 0 for metrics in all_metrics))

    def _count_pause(self, pause_ns: int) -> None:
        counters = self._counters
        counters.add(Counter.GC_PAUSES)
        counters.add(Counter.GC_PAUSE_NS, pause_ns)
        counters.put(Counter.GC_PAUSE_NS_MAX, max(pause_ns, counters[Counter.GC_PAUSE_NS_MAX]))
        for bound_ns, counter in _LONG_PAUSES:
            if pause_ns > bound_ns:
                counters.add(counter)
