"""Seals, truncation and damaged disks, where it went wrong in public."""

from pathlib import Path

import pytest

from replication.log.ballot import NO_BALLOT
from simulation.promises.violation import Violation
from simulation.variants.hunt import VARIANTS
from simulation.world.crash import Crash
from tests.simulation.scenarios.stage import Stage, staged

BROKEN = {variant.name: variant for variant in VARIANTS}


@pytest.mark.parametrize("how", [Crash.LOST, Crash.TORN, Crash.REORDERED, Crash.FLIPPED])
def test_a_promise_survives_a_power_cut_and_keeps_the_old_leader_out(tmp_path: Path, how: Crash) -> None:
    with staged(tmp_path) as stage:
        first = stage.leader()
        stage.cut(first, stage.others(first))
        second = stage.candidate(stage.others(first))
        (third,) = (number for number in stage.others(first) if number != second)
        promised = stage.node(second).front.leading
        stage.crash(second)
        stage.crash(third, how)
        stage.start(third)
        assert stage.node(third).core.state.promised >= promised
        committed = stage.commit_index
        stage.join(first, third)
        stage.submit(first)
        stage.pass_ms(60)
        assert stage.commit_index == committed, "who promised a higher ballot acknowledges no lower one"
        stage.settle()


@pytest.mark.parametrize("steps", range(0, 16, 2))
def test_a_truncation_that_fails_midway_leaves_no_spliced_log(tmp_path: Path, steps: int) -> None:
    with staged(tmp_path) as stage:
        first = stage.leader()
        second, stale = stage.depose(first)
        stage.submit(second, 8)
        stage.until(lambda: stage.commit_index >= stale)
        stage.machine(first).disk.steps_left = steps
        stage.join(first, stage.others(first))
        stage.settle()


def test_a_replaced_disk_does_not_vote_until_it_has_recovered(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        first = stage.leader()
        second, third = stage.others(first)
        stage.settle()
        stage.cut(third, [first, second])
        stage.submit(first)
        stage.committed(1)
        stage.crash(second)
        stage.crash(first)
        stage.machine(second).wipe()
        stage.start(second)
        stage.join(third, [first, second])
        stage.pass_ms(2000)
        assert all(stage.node(number).front.leading == NO_BALLOT for number in (second, third)), (
            "only the first has what was committed"
        )
        stage.start(first)
        stage.settle()


def recovery_of_a_replaced_disk(stage: Stage) -> None:
    """The one node that has everything dies when the one with the new disk votes again; the third never had it."""
    first = stage.leader()
    second, third = stage.others(first)
    stage.settle()
    stage.cut(third, [first, second])
    for _ in range(6):
        stage.submit(first, 12)
        stage.pass_ms(40)
    stage.crash(second)
    stage.machine(second).wipe()
    stage.start(second)
    stage.join(third, second)
    stage.until(lambda: stage.node(second).core.state.voting)
    stage.crash(first)
    stage.pass_ms(1500)
    stage.start(first)
    stage.settle()


def test_a_replaced_disk_votes_once_it_has_what_it_may_have_acknowledged(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        recovery_of_a_replaced_disk(stage)


@pytest.mark.parametrize("name", ["votes-before-it-recovered", "votes-with-a-new-disk"])
def test_a_replaced_disk_that_votes_before_it_has_everything_is_noticed(tmp_path: Path, name: str) -> None:
    with BROKEN[name].applied(), staged(tmp_path) as stage, pytest.raises(Violation):
        recovery_of_a_replaced_disk(stage)


def test_a_damaged_log_is_repaired_before_its_node_votes(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        first = stage.leader()
        stage.submit(first, 12)
        stage.committed(3)
        stage.settle()
        damaged = stage.others(first)[0]
        machine = stage.machine(damaged)
        machine.rotten_index = machine.disk.rot(machine.proven_index(), stage.cluster.rng)
        assert machine.rotten_index
        machine.crash(Crash.PROCESS)
        machine.start()
        stage.crash(first)
        stage.pass_ms(1000)
        stage.start(first)
        stage.settle()


def test_what_is_acknowledged_survives_a_power_cut_of_all_nodes(tmp_path: Path) -> None:
    for how in (Crash.LOST, Crash.TORN, Crash.REORDERED, Crash.FLIPPED):
        with staged(tmp_path / how.value) as stage:
            first = stage.leader()
            stage.submit(first, 6)
            stage.committed(2)
            committed = list(stage.cluster.ledger.committed)
            for number in (1, 2, 3):
                stage.crash(number, how)
            for number in (1, 2, 3):
                stage.start(number)
            stage.settle()
            assert stage.cluster.ledger.committed[: len(committed)] == committed


def test_a_full_disk_of_a_follower_ends_by_itself(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        first = stage.leader()
        follower = stage.others(first)[0]
        stage.machine(follower).disk.full = True
        for _ in range(5):
            stage.submit(first, 12)
            stage.committed(1)
            stage.pass_ms(30)
        stage.machine(follower).disk.full = False
        stage.settle()
        assert stage.leader() == first
