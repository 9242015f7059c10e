"""Minimising a schedule."""

from random import Random

import pytest

from simulation.fault_kind import FaultKind
from simulation.faults.plan import Fault, plan_faults
from simulation.minimise import minimise
from simulation.promises.violation import Rule
from simulation.schedule import Outcome, Schedule


def faults(count: int) -> tuple[Fault, ...]:
    return tuple(Fault(at_ns, FaultKind.KILL, 1, 2, 1, 0) for at_ns in range(count))


@pytest.mark.parametrize("needed", [(), (3,), (0, 9), (2, 3, 7)])
def test_what_is_left_are_the_faults_that_it_takes(needed: tuple[int, ...]) -> None:
    def run(schedule: Schedule) -> Outcome:
        times = {fault.at_ns for fault in schedule.faults}
        return Outcome(1, 3, rule=Rule.LOGS_MATCH if times.issuperset(needed) else None)

    smallest = minimise(Schedule(1, 3, faults(10)), Rule.LOGS_MATCH, run)
    assert tuple(fault.at_ns for fault in smallest.faults) == needed


def test_another_broken_promise_is_another_failure() -> None:
    def run(schedule: Schedule) -> Outcome:
        return Outcome(1, 3, rule=Rule.LOGS_MATCH if len(schedule.faults) == 4 else Rule.PROGRESS)

    assert len(minimise(Schedule(1, 3, faults(4)), Rule.LOGS_MATCH, run).faults) == 4


def test_plans_have_enough_faults_and_all_kinds_occur() -> None:
    plans = [plan_faults(Random(seed), 3) for seed in range(300)]
    assert all(len(plan) >= 5 for plan in plans)
    assert {fault.kind for plan in plans for fault in plan} == set(FaultKind)
    assert all(list(plan) == sorted(plan) for plan in plans)
