"""What a node does about itself now and then: garbage, the pools' upkeep and sizes, and their counters."""

import asyncio
import time
from typing import Final

from pooling.gc.gc_scheduler import GcScheduler
from pooling.manager import ObjectPoolManager
from services.settings.model import PoolingSettings
from services.telemetry.counters import Counter, Counters

_TICK_S: Final = 0.05
"""Between looks at the collector: short enough to find idle moments, long enough to cost nothing."""
_UPKEEP_S: Final = 1.0

_LONG_PAUSES: Final = ((1_000_000, Counter.COLLECTOR_PAUSES_OVER_1MS), (10_000_000, Counter.COLLECTOR_PAUSES_OVER_10MS))


class Maintenance:
    """Runs in the event loop from `start` to `stop`."""

    def __init__(self, pools: ObjectPoolManager, counters: Counters, settings: PoolingSettings) -> None:
        self._pools = pools
        self._counters = counters
        self._settings = settings
        self.collector: Final = GcScheduler(self._paused)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Take over the collector, or only measure it where the settings say so, and begin."""
        self.collector.start(take_over=self._settings.collector == "idle")
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End, and give the collector back to Python."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        self.collector.stop()

    async def _run(self) -> None:
        upkeep_at = time.monotonic() + _UPKEEP_S
        optimize_at = time.monotonic() + self._settings.optimize_interval_s
        received = 0
        while True:
            await asyncio.sleep(_TICK_S)
            received_before, received = received, self._counters[Counter.FRAMES_RECEIVED]
            in_flight = self._counters[Counter.FRAMES_ENQUEUED] > self._counters[Counter.FRAMES_ANSWERED]
            self.collector.tick(busy=in_flight or received > received_before)
            now = time.monotonic()
            if now >= upkeep_at:
                upkeep_at = now + _UPKEEP_S
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

    def _paused(self, pause_ns: int) -> None:
        counters = self._counters
        counters.add(Counter.COLLECTOR_PAUSES)
        counters.add(Counter.COLLECTOR_PAUSE_NS, pause_ns)
        counters.put(Counter.COLLECTOR_PAUSE_NS_MAX, max(pause_ns, counters[Counter.COLLECTOR_PAUSE_NS_MAX]))
        for bound_ns, counter in _LONG_PAUSES:
            if pause_ns > bound_ns:
                counters.add(counter)
