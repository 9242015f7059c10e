"""The collector runs when nothing is under way or a budget is used up, and tells how long it took."""

import gc
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooling.gc.gc_pauses import GcPauses
from pooling.gc.gc_scheduler import GcScheduler
from tests.txqueue.region.test_fork import holds_in_child


class Cycle:
    def __init__(self) -> None:
        self.self = self


@pytest.fixture
def pauses() -> list[int]:
    return []


@pytest.fixture
def scheduler(pauses: list[int]) -> Iterator[GcScheduler]:
    made = GcScheduler(pauses.append)
    made.start()
    pauses.clear()
    yield made
    made.stop()


def test_nothing_is_collected_while_busy_within_the_budget(scheduler: GcScheduler, pauses: list[int]) -> None:
    for _ in range(50):
        Cycle()
        scheduler.tick(busy=True)
    assert not pauses


def test_garbage_goes_in_the_first_quiet_moment_and_then_there_is_peace(
    scheduler: GcScheduler, pauses: list[int]
) -> None:
    cycle = Cycle()
    alive = sys.getrefcount(Cycle)
    del cycle
    scheduler.tick(busy=True)
    for _ in range(10):
        scheduler.tick(busy=False)
    assert len(pauses) == 1
    assert sys.getrefcount(Cycle) < alive


def test_under_load_garbage_is_collected_by_budget(scheduler: GcScheduler, pauses: list[int]) -> None:
    for _ in range(20_000):
        Cycle()
        if _ % 100 == 0:
            scheduler.tick(busy=True)
    assert 2 <= len(pauses) <= 20
    assert cycles() <= 5_200


def cycles() -> int:
    return sum(isinstance(thing, Cycle) for thing in gc.get_objects())


def test_what_dies_late_goes_with_enough_further_survivors(scheduler: GcScheduler) -> None:
    kept: list[Cycle] = []
    for number in range(10_000):
        kept.append(Cycle())
        if number % 100 == 0:
            scheduler.tick(busy=True)
    kept.clear()
    survivors: list[list[int]] = []
    for number in range(30_000):
        survivors.append([number])
        if number % 100 == 0:
            scheduler.tick(busy=True)
    assert cycles() == 0


def test_what_dies_late_goes_in_the_end_without_a_quiet_moment(scheduler: GcScheduler) -> None:
    kept = [Cycle() for _ in range(10)]
    gc.collect()
    kept.clear()
    for _ in range(1200):
        scheduler.tick(busy=True)
    assert cycles() == 0


def test_without_ticks_python_collects_in_the_end(scheduler: GcScheduler, pauses: list[int]) -> None:
    for _ in range(250_000):
        Cycle()
    assert pauses


def test_what_was_there_at_the_start_is_frozen_until_the_stop() -> None:
    thresholds, callbacks = gc.get_threshold(), list(gc.callbacks)
    scheduler = GcScheduler()
    scheduler.start()
    try:
        assert gc.get_freeze_count() > 1000
        assert gc.get_threshold() != thresholds
    finally:
        scheduler.stop()
    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == thresholds
    assert gc.callbacks == callbacks
    scheduler.stop()


def test_every_collection_is_measured_whoever_asked_for_it(scheduler: GcScheduler, pauses: list[int]) -> None:
    for generation in (0, 1, 2):
        gc.collect(generation)
    metrics = scheduler.get_metrics()
    assert metrics.count >= len(pauses) == 3
    assert 0 < min(pauses) <= metrics.max_ns < 1e9
    assert metrics.sum_ns >= sum(pauses)


def test_a_scheduler_that_only_measures_leaves_python_its_ways(pauses: list[int]) -> None:
    thresholds, frozen = gc.get_threshold(), gc.get_freeze_count()
    scheduler = GcScheduler(pauses.append)
    scheduler.start(take_over=False)
    try:
        assert (gc.get_threshold(), gc.get_freeze_count()) == (thresholds, frozen)
        for _ in range(10):
            scheduler.tick(busy=False)
        before = len(pauses)
        gc.collect()
        assert len(pauses) == before + 1
    finally:
        scheduler.stop()
    assert gc.get_threshold() == thresholds


@given(st.lists(st.integers(0, 1 << 62), min_size=1, max_size=300))
def test_percentiles_are_never_too_low_and_a_quarter_too_high_at_most(values: list[int]) -> None:
    pauses = GcPauses()
    for value in values:
        pauses.add(value)
    read = pauses.read()
    ordered = sorted(values)
    for told, share in ((read.p50_ns, 0.5), (read.p99_ns, 0.99), (read.p999_ns, 0.999)):
        exact = ordered[max(0, -int(-share * len(ordered) // 1) - 1)]
        assert exact <= told <= min(exact * 1.25 + 1, read.max_ns)
    assert (read.count, read.sum_ns, read.max_ns) == (len(values), sum(values), max(values))


def test_no_pauses_are_no_pauses() -> None:
    read = GcPauses().read()
    assert (read.count, read.p50_ns, read.p999_ns, read.max_ns) == (0, 0, 0, 0)


def test_a_forked_child_collects_by_itself_and_reports_no_pauses(pauses: list[int]) -> None:
    before = gc.get_threshold()
    scheduler = GcScheduler(pauses.append)
    scheduler.start()
    pauses.clear()

    def is_python_s_own() -> bool:
        pauses.clear()
        gc.collect()
        return pauses == [] and gc.get_threshold() == before

    assert holds_in_child(is_python_s_own)
    pauses.clear()
    gc.collect()
    assert len(pauses) == 1
    assert gc.get_threshold() != before
    scheduler.stop()
