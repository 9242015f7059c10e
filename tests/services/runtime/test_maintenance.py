"""Maintenance keeps its intervals by the loop's time, and goes on whatever becomes of a single pool."""

import asyncio
import gc
from typing import cast

import pytest

from pooling.core.pool_options import PoolOptions
from pooling.manager import ObjectPoolManager
from services.runtime.maintenance import Maintenance
from services.settings.memory_settings import PoolingSettings
from services.telemetry.counters import Counter, Counters
from tests import virtual_time
from tests.pooling.core.fake_connections import ConnectionFactory


class Pools:
    """Notes when it is kept up and sized, in seconds of the loop."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.kept_up: list[float] = []
        self.sized: list[float] = []

    def maintain(self) -> None:
        self.kept_up.append(round(self.loop.time(), 3))

    def optimize_pool_sizes(self) -> None:
        self.sized.append(round(self.loop.time(), 3))

    def get_pool_metrics(self) -> list[object]:
        return []


async def run_for(seconds: float, settings: PoolingSettings) -> Pools:
    pools = Pools()
    maintenance = Maintenance(cast(ObjectPoolManager, pools), Counters(), settings)
    maintenance.start()
    await asyncio.sleep(seconds)
    await maintenance.stop()
    return pools


def test_pools_are_kept_up_every_second_and_sized_as_often_as_settings_say() -> None:
    settings = PoolingSettings(gc_schedule="python", optimize_interval_s=2.5)
    pools = virtual_time.run(run_for(9.5, settings))
    assert [round(time) for time in pools.kept_up] == list(range(1, 10))
    assert pools.sized == pytest.approx([2.5, 5.0, 7.5], abs=0.2)


def test_pools_are_not_sized_unless_asked_for() -> None:
    assert virtual_time.run(run_for(100.0, PoolingSettings(gc_schedule="python"))).sized == []


def test_a_quiet_node_collects_its_garbage_and_a_busy_one_waits() -> None:
    async def pauses(*, busy: bool) -> int:
        counters = Counters()
        maintenance = Maintenance(cast(ObjectPoolManager, Pools()), counters, PoolingSettings())
        maintenance.start()
        before = counters[Counter.GC_PAUSES]
        for _ in range(20):
            counters.add(Counter.FRAMES_RECEIVED, int(busy))
            await asyncio.sleep(0.05)
        await maintenance.stop()
        return counters[Counter.GC_PAUSES] - before

    assert virtual_time.run(pauses(busy=False)) >= 1
    assert virtual_time.run(pauses(busy=True)) == 0


def test_pauses_are_counted_by_their_length() -> None:
    counters = Counters()
    maintenance = Maintenance(ObjectPoolManager(1 << 20), counters, PoolingSettings())
    for pause_ns in (500_000, 2_000_000, 11_000_000, 3_000_000):
        maintenance._count_pause(pause_ns)
    assert counters[Counter.GC_PAUSES] == 4
    assert counters[Counter.GC_PAUSE_NS] == 16_500_000
    assert counters[Counter.GC_PAUSE_NS_MAX] == 11_000_000
    assert (counters[Counter.GC_PAUSES_OVER_1MS], counters[Counter.GC_PAUSES_OVER_10MS]) == (3, 1)


async def test_what_was_taken_over_is_given_back() -> None:
    before = gc.get_threshold()
    maintenance = Maintenance(ObjectPoolManager(1 << 20), Counters(), PoolingSettings())
    await maintenance.stop()
    maintenance.start()
    assert gc.get_threshold() != before
    await maintenance.stop()
    assert gc.get_threshold() == before


def test_a_factory_that_fails_does_not_end_it() -> None:
    async def idle_objects_after_each_second() -> tuple[int, int]:
        pools, counters, factory = ObjectPoolManager(1 << 20), Counters(), ConnectionFactory()
        factory.fail.add("make")
        pools.create_pool("failing", factory, PoolOptions(idle_min=1))
        pools.create_pool("things", ConnectionFactory(), PoolOptions(idle_min=2))
        maintenance = Maintenance(pools, counters, PoolingSettings(gc_schedule="python"))
        maintenance.start()
        await asyncio.sleep(1.5)
        while_failing = counters[Counter.POOL_OBJECTS_IDLE]
        factory.fail.clear()
        await asyncio.sleep(1.0)
        await maintenance.stop()
        return while_failing, counters[Counter.POOL_OBJECTS_IDLE]

    assert virtual_time.run(idle_objects_after_each_second()) == (2, 3)
