"""Schedules: whole clusters under faults, from their seeds."""

from pathlib import Path

from simulation.campaign import run_seed
from simulation.promises.violation import Rule
from simulation.schedule import Schedule, run_schedule


def test_a_schedule_happens_again_from_its_seed_event_by_event() -> None:
    assert run_seed(8) == run_seed(8)


def test_different_seeds_make_different_schedules() -> None:
    first, second = run_seed(1), run_seed(2)
    assert first.steps != second.steps
    assert first.faults != second.faults


def test_schedules_break_no_promise_and_most_count() -> None:
    outcomes = [run_seed(seed) for seed in range(2000, 2010)]
    assert [outcome.violation for outcome in outcomes] == [None] * 10
    assert sum(outcome.counts for outcome in outcomes) >= 7
    assert all(outcome.acknowledged > 0 for outcome in outcomes)


def test_a_cluster_without_faults_keeps_its_first_leader(tmp_path: Path) -> None:
    outcome = run_schedule(Schedule(3, 3, ()), tmp_path / "disks")
    assert (outcome.violation, outcome.changes) == (None, 0)
    assert not outcome.counts, "a schedule without faults says nothing"
    assert not (tmp_path / "disks").exists()


def test_a_cluster_that_cannot_make_progress_is_found_out(tmp_path: Path) -> None:
    """Nothing is healed before the blocks are there: two nodes of three whose disks never have room."""
    from simulation.fault_kind import FaultKind
    from simulation.faults.plan import Fault

    forever_ns = 10**15
    faults = tuple(Fault(0, FaultKind.HANGING_DISK, node, 0, forever_ns, 0) for node in (1, 2))
    outcome = run_schedule(Schedule(3, 3, faults), tmp_path / "disks")
    assert outcome.rule is Rule.PROGRESS
