"""Maintenance goes on, whatever becomes of a single pool."""

import asyncio
import time

import pytest

from pooling.core.pool_options import PoolOptions
from pooling.manager import ObjectPoolManager
from services.runtime import maintenance as housekeeping
from services.runtime.maintenance import Maintenance
from services.settings.model import PoolingSettings
from services.telemetry.counters import Counter, Counters
from tests.pooling.core.fake_connections import ConnectionFactory


async def test_a_factory_that_fails_does_not_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "_TICK_S", 0.005)
    monkeypatch.setattr(housekeeping, "_UPKEEP_S", 0.005)
    pools, counters, factory = ObjectPoolManager(1 << 20), Counters(), ConnectionFactory()
    factory.fail.add("make")
    pools.create_pool("failing", factory, PoolOptions(idle_min=1))
    pools.create_pool("connections", ConnectionFactory(), PoolOptions(idle_min=2))
    keeper = Maintenance(pools, counters, PoolingSettings(collector="python", optimize_interval_s=0.005))
    keeper.start()
    deadline = time.monotonic() + 10
    while counters[Counter.POOL_OBJECTS_IDLE] < 2:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)
    factory.fail.clear()
    while counters[Counter.POOL_OBJECTS_IDLE] < 3:
        assert time.monotonic() < deadline, "the failed pool had no second turn"
        await asyncio.sleep(0.005)
    await keeper.stop()
