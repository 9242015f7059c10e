"""The probe sees what no stage can, and the end of what stages have seen."""

import asyncio

import pytest

from penstock.contract.limits import BATCH_SIZE, FRAME_PAYLOAD_BYTES_MAX
from penstock.host.disk_wait import DiskWait
from services.pipeline.block_clock import BlockClock
from services.runtime.condition_probe import (
    CLOCK_BEHIND_NS,
    DESCRIPTORS_LEFT_MIN,
    DISK_SLOW_S,
    TICK_S,
    ConditionProbe,
)
from services.telemetry.conditions import HOLD_S, Condition, Conditions
from statestore.capacity import growth_bytes_max
from tests import virtual_time
from tests.fakes import ManualExecutor, SteppedClock

LARGEST_FRAME_BYTES = growth_bytes_max(BATCH_SIZE, FRAME_PAYLOAD_BYTES_MAX)
SECOND_NS = 10**9


class Bench:
    """A probe, and all that it looks at."""

    def __init__(self) -> None:
        self.clock = SteppedClock(now_ns=1_700_000_000 * SECOND_NS)
        self.conditions = Conditions(self.clock)
        self.executor = ManualExecutor()
        self.disk_waits = {doing: DiskWait(self.clock.monotonic_ns) for doing in ("writing", "syncing")}
        self.block_clock = BlockClock(self.clock, 0, 3600 * SECOND_NS)
        self.free_bytes = LARGEST_FRAME_BYTES
        self.left = 1000
        self.lost: list[str] = []
        self.failed = False
        self.tries = 0
        self.probe = ConditionProbe(
            self.conditions,
            disk_waits=self.disk_waits,
            capacity=self,
            block_clock=self.block_clock,
            results_file=self,
            executor=self.executor,
            lost_addresses=lambda: self.lost,
            left=lambda: self.left,
        )

    def fits(self, records: int, payload_bytes: int) -> bool:
        return growth_bytes_max(records, payload_bytes) <= self.free_bytes

    def try_again(self) -> None:
        self.tries += 1

    def seen(self) -> list[Condition]:
        self.probe.tick()
        for parked in self.executor.parked:
            parked.join()
        self.executor.parked.clear()
        return [active.condition for active in self.conditions.active()]

    def seen_later(self) -> list[Condition]:
        self.seen()
        self.clock.advance(HOLD_S)
        return self.seen()


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize("doing", ["writing", "syncing"])
def test_a_disk_that_hangs_is_slow_until_it_answers_whatever_waits_for_it(bench: Bench, doing: str) -> None:
    with bench.disk_waits[doing]:
        bench.clock.advance(DISK_SLOW_S - 0.01)
        assert bench.seen() == []
        bench.clock.advance(0.01)
        assert bench.seen() == [Condition.DISK_SLOW]
        assert bench.conditions.active()[0].detail == f"{doing} for 3 s"
        assert bench.seen_later() == [Condition.DISK_SLOW]
    assert bench.seen() == [Condition.DISK_SLOW], "it has not been quick for long enough"
    assert bench.seen_later() == []


def test_what_hangs_is_told_by_what_it_does(bench: Bench) -> None:
    assert bench.probe.hanging() == "nothing waits for the disk"
    with bench.disk_waits["syncing"]:
        bench.clock.advance(1)
        with bench.disk_waits["writing"]:
            bench.clock.advance(1)
            assert bench.probe.hanging() == "syncing for 2 s"


def test_a_clock_that_was_set_back_is_behind_until_it_has_caught_up(bench: Bench) -> None:
    bench.block_clock.next_ns()
    bench.clock.step_ns = -CLOCK_BEHIND_NS
    assert bench.seen() == []
    bench.clock.step_ns -= 599 * SECOND_NS
    assert bench.seen() == [Condition.CLOCK_BEHIND]
    assert bench.conditions.active()[0].detail == "by 10.0 minutes"
    bench.clock.advance(600)
    assert bench.seen_later() == []


def test_descriptors_are_short_before_the_last_is_taken(bench: Bench) -> None:
    bench.left = DESCRIPTORS_LEFT_MIN
    assert bench.seen() == []
    bench.left -= 1
    assert bench.seen() == [Condition.DESCRIPTORS_SHORT]
    bench.left = 1000
    assert bench.seen_later() == []


def test_a_clock_that_leapt_ahead_is_told_until_it_is_set_right(bench: Bench) -> None:
    bench.block_clock.next_ns()
    bench.clock.step_ns = 48 * 3600 * SECOND_NS
    assert bench.seen() == [Condition.CLOCK_JUMPED]
    assert bench.conditions.active()[0].detail == "by 2.0 days"
    bench.clock.step_ns = 0
    assert bench.seen_later() == []


def test_an_address_that_is_another_s_is_told_by_its_name(bench: Bench) -> None:
    bench.lost = ["unix:/run/node.sock"]
    assert bench.seen() == [Condition.ADDRESS_LOST]
    assert bench.conditions.active()[0].detail == "unix:/run/node.sock"


def test_full_tables_end_once_the_largest_frame_fits_though_none_is_sent(bench: Bench) -> None:
    bench.free_bytes -= 1
    bench.conditions.set(Condition.TABLES_FULL)
    assert bench.seen_later() == [Condition.TABLES_FULL]
    bench.free_bytes += 1
    assert bench.seen_later() == []


@pytest.mark.parametrize(("missing", "conditions"), [(0, []), (1, [Condition.TABLES_FULL])])
async def test_tables_that_hold_no_frame_at_the_start_are_told_before_one_is_refused(
    bench: Bench, missing: int, conditions: list[Condition]
) -> None:
    bench.free_bytes = growth_bytes_max(1, 0) - missing
    bench.probe.start()
    assert [active.condition for active in bench.conditions.active()] == conditions
    await bench.probe.stop()


def test_clients_that_find_no_session_are_told_for_as_long_as_they_come(bench: Bench) -> None:
    for _ in range(3):
        bench.conditions.set(Condition.SESSIONS_EXHAUSTED)
        assert bench.seen() == [Condition.SESSIONS_EXHAUSTED]
        bench.clock.advance(HOLD_S - 0.1)
    assert bench.seen_later() == []


def test_results_that_cannot_be_written_are_told_and_tried_again_though_no_block_comes(bench: Bench) -> None:
    bench.failed = True
    assert bench.seen() == [Condition.RESULTS_UNAVAILABLE]
    assert bench.tries == 1
    bench.failed = False
    assert bench.seen_later() == []


def test_a_disk_that_does_not_answer_is_tried_by_one_thread_alone(bench: Bench) -> None:
    bench.failed = True
    for _ in range(10):
        bench.probe.tick()
    assert len(bench.executor.parked) == 1


def test_the_probe_looks_by_itself_until_it_is_stopped(bench: Bench) -> None:
    async def look() -> None:
        bench.left = 0
        bench.probe.start()
        await asyncio.sleep(TICK_S * 1.5)
        assert Condition.DESCRIPTORS_SHORT in bench.conditions
        await bench.probe.stop()
        bench.left = 1000
        await asyncio.sleep(TICK_S * 10)
        bench.clock.advance(HOLD_S)
        assert Condition.DESCRIPTORS_SHORT in bench.conditions

    virtual_time.run(look())
