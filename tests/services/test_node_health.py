"""The health of a node's services follows its conditions."""

import asyncio
from collections.abc import Collection

import pytest

from services.node_health import NodeHealth
from services.telemetry.conditions import HOLD_S, Condition, Conditions
from tests.fakes import ManualClock


class Bench:
    """Conditions, and the health that clients are shown."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.conditions = Conditions(self.clock)
        self.health = NodeHealth(self.conditions)
        self.shown: list[set[str]] = []

    def set_serving(self, but_not: Collection[str]) -> None:
        self.shown.append(set(but_not))

    def end(self, condition: Condition) -> None:
        self.conditions.clear(condition)
        self.clock.advance(HOLD_S)
        self.conditions.settle()


@pytest.fixture
async def bench() -> Bench:
    return Bench()


NODE = {"", "penstock.v1.TxQueueService"}


async def test_conditions_that_are_there_at_the_start_are_shown_from_the_first_moment(bench: Bench) -> None:
    bench.conditions.set(Condition.TABLES_FULL)
    bench.health.start(bench.set_serving)
    assert bench.shown == [NODE]
    bench.health.stop()


async def test_a_change_in_any_thread_is_shown_in_the_node_s(bench: Bench) -> None:
    bench.health.start(bench.set_serving)
    await asyncio.to_thread(bench.conditions.set, Condition.DISK_FULL)
    await asyncio.to_thread(bench.conditions.set, Condition.LOG_DAMAGED)
    await asyncio.to_thread(bench.end, Condition.DISK_FULL)
    await asyncio.sleep(0)
    assert bench.shown[0] == set()
    assert bench.shown[-1] == {"penstock.v1.StateService"}
    bench.health.stop()


async def test_a_stopped_health_is_left_as_it_is(bench: Bench) -> None:
    bench.health.start(bench.set_serving)
    bench.conditions.set(Condition.DISK_FULL)
    bench.health.stop()
    bench.conditions.set(Condition.LOG_DAMAGED)
    await asyncio.sleep(0)
    assert bench.shown == [set()]


async def test_conditions_are_named_while_the_node_serves_and_not_in_place_of_what_else_it_does(bench: Bench) -> None:
    bench.conditions.set(Condition.DISK_FULL)
    assert bench.health.describe() == "starting"
    bench.health.phase = "serving"
    assert bench.health.describe() == "degraded: disk_full"
    bench.health.phase = "stopping"
    assert bench.health.describe() == "stopping"
