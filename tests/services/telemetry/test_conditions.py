"""A condition begins at once, ends once nobody has met it for a while, and says both."""

import logging
import threading

import pytest

from services.telemetry.conditions import HOLD_S, Ability, ActiveCondition, Condition, Conditions
from tests.fakes import ManualClock

NODE_LOG = "penstock.node"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def conditions(clock: ManualClock) -> Conditions:
    return Conditions(clock)


def test_a_condition_stands_from_when_it_is_first_met(conditions: Conditions, clock: ManualClock) -> None:
    began_ns = clock.time_ns()
    conditions.set(Condition.DISK_FULL, "no space for 5 bytes")
    clock.advance(1)
    conditions.set(Condition.DISK_FULL, "no space for 6 bytes")
    assert conditions.active() == [ActiveCondition(Condition.DISK_FULL, "no space for 5 bytes", began_ns)]
    assert conditions.begun(Condition.DISK_FULL) == 1


def test_a_condition_that_comes_and_goes_with_every_frame_is_one_condition(
    conditions: Conditions, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    changes: list[None] = []
    conditions.on_change(lambda: changes.append(None))
    with caplog.at_level(logging.INFO, NODE_LOG):
        for _ in range(1000):
            conditions.set(Condition.TABLES_FULL)
            conditions.clear(Condition.TABLES_FULL)
            conditions.settle()
            clock.advance(HOLD_S / 2)
        assert len(caplog.records) == len(changes) == 1
        clock.advance(HOLD_S / 2)
        conditions.settle()
        conditions.settle()
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "tables_full begins",
        "tables_full has ended",
    ]
    assert len(changes) == 2
    assert conditions.active() == []


def test_a_condition_that_nobody_clears_does_not_end(conditions: Conditions, clock: ManualClock) -> None:
    conditions.set(Condition.RESULTS_UNAVAILABLE)
    clock.advance(3600)
    conditions.settle()
    assert Condition.RESULTS_UNAVAILABLE in conditions


def test_a_condition_that_begins_anew_has_a_new_beginning(conditions: Conditions, clock: ManualClock) -> None:
    conditions.set(Condition.DISK_SLOW)
    conditions.clear(Condition.DISK_SLOW)
    clock.advance(HOLD_S)
    conditions.settle()
    conditions.set(Condition.DISK_SLOW)
    assert conditions.active()[0].since_ns == clock.time_ns()
    assert conditions.begun(Condition.DISK_SLOW) == 2


def test_the_abilities_that_conditions_take_are_given_back_with_the_last_of_them(
    conditions: Conditions, clock: ManualClock
) -> None:
    conditions.set(Condition.SESSIONS_EXHAUSTED)
    assert conditions.stopped() == set()
    conditions.set(Condition.DISK_FULL)
    conditions.set(Condition.TABLES_FULL)
    conditions.set(Condition.LOG_DAMAGED)
    assert conditions.stopped() == {Ability.SUBMIT, Ability.WATCH}
    for condition in (Condition.DISK_FULL, Condition.TABLES_FULL):
        assert Ability.SUBMIT in conditions.stopped()
        conditions.clear(condition)
        clock.advance(HOLD_S)
        conditions.settle()
    assert conditions.stopped() == {Ability.WATCH}


def test_a_condition_met_by_many_threads_at_once_begins_once(conditions: Conditions) -> None:
    changes: list[None] = []
    conditions.on_change(lambda: changes.append(None))
    together = threading.Barrier(8)

    def meet() -> None:
        together.wait()
        conditions.set(Condition.DISK_FULL)

    threads = [threading.Thread(target=meet) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(changes), conditions.begun(Condition.DISK_FULL)) == (1, 1)


def test_every_condition_has_a_label_of_its_own_and_says_what_to_do() -> None:
    assert len({condition.label for condition in Condition}) == len(Condition)
    assert all(condition.label == condition.name.lower() and ": " in condition.meaning for condition in Condition)
