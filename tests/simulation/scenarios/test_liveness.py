"""Reads, failover, hand-over and the coordinator, where it went wrong in public."""

from pathlib import Path

import pytest

from replication.consensus.interface.effects import Concern
from replication.consensus.interface.membership import Membership
from replication.log.ballot import NO_BALLOT
from simulation.cluster.wire import NotLeader, ReadAnswer
from simulation.variants.hunt import VARIANTS
from tests.simulation.scenarios.stage import Stage, hand_over, staged

BROKEN = {variant.name: variant for variant in VARIANTS}


def read_after_a_pause(stage: Stage) -> list[ReadAnswer]:
    """Ask the old leader the moment it wakes, before it has heard of the new one."""
    first = stage.leader()
    stage.machine(first).pause()
    second = stage.leader(stage.others(first))
    stage.submit(second)
    stage.committed(1)
    committed = stage.commit_index
    stage.machine(first).pauses = 0
    stage.read(first, 1)
    stage.node(first).process.resume()
    stage.pass_ms(100)
    return [answer for answer in stage.answers if isinstance(answer, ReadAnswer) and answer.at_index < committed]


def test_a_leader_that_slept_serves_no_stale_read(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        assert read_after_a_pause(stage) == []
        stage.settle()


def test_a_stale_read_of_a_leader_that_asks_nobody_is_noticed(tmp_path: Path) -> None:
    with BROKEN["reads-without-asking"].applied(), staged(tmp_path) as stage:
        assert read_after_a_pause(stage)


def test_a_new_leader_serves_reads_once_its_own_block_is_committed(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        first = stage.leader()
        stage.submit(first)
        stage.committed(1)
        stage.cut(first, stage.others(first))
        second = stage.candidate(stage.others(first))
        committed = stage.commit_index
        stage.read(second, 1)
        stage.until(lambda: any(isinstance(answer, ReadAnswer) for answer in stage.answers))
        (answer,) = (answer for answer in stage.answers if isinstance(answer, ReadAnswer))
        assert answer.at_index > committed
        assert answer.amount == 1
        stage.settle()


def test_a_leader_whose_disk_hangs_steps_down(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        first = stage.leader()
        stage.machine(first).device.hang()
        stage.submit(first)
        second = stage.leader(stage.others(first))
        assert stage.node(first).front.leading == NO_BALLOT
        assert second != first
        stage.settle()


def test_a_leader_that_sends_and_cannot_receive_abdicates(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        first = stage.leader()
        stage.cut(stage.others(first), first, both=False)
        stage.until(lambda: stage.node(first).front.leading == NO_BALLOT, within_ms=600)
        stage.leader(stage.others(first))
        stage.settle()


def test_a_hand_over_names_the_new_leader_to_who_asks_meanwhile(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        first = stage.leader()
        to = stage.others(first)[0]
        hand_over(stage, first, to)
        stage.submit(first)
        stage.until(lambda: bool(stage.answers))
        assert stage.answers == [NotLeader(1, to)] or isinstance(stage.answers[0], NotLeader)
        stage.until(lambda: stage.node(to).sequencer.open, within_ms=600)
        stage.settle()


def test_a_hand_over_to_a_node_that_lags_is_given_up_by_a_timer(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        first = stage.leader()
        to = stage.others(first)[0]
        stage.machine(to).device.hang()
        stage.submit(first, 3)
        stage.committed(1)
        hand_over(stage, first, to)
        assert not stage.node(first).sequencer.open
        stage.until(lambda: stage.node(first).sequencer.open, within_ms=400)
        stage.submit(first)
        stage.committed(1)
        stage.settle()


def test_a_leader_goes_on_while_the_coordinator_is_away(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        first = stage.leader()
        stage.cluster.coordinator.outages += 1
        for _ in range(20):
            stage.submit(first)
            stage.committed(1)
            stage.pass_ms(100)
        assert stage.cluster.ledger.ballots_led == 1
        assert stage.leader() == first


def test_nobody_leads_without_the_coordinator_and_somebody_does_once_it_is_back(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        first = stage.leader()
        stage.cluster.coordinator.outages += 1
        stage.crash(first)
        stage.pass_ms(1500)
        assert stage.cluster.ledger.ballots_led == 1
        stage.cluster.coordinator.recover()
        stage.leader(stage.others(first))
        stage.settle()


@pytest.mark.parametrize("seed", range(4))
def test_a_coordinator_restored_from_a_backup_issues_no_epoch_that_counts_twice(tmp_path: Path, seed: int) -> None:
    with staged(tmp_path, seed=seed) as stage:
        first = stage.leader()
        second, _ = stage.depose(first)
        stage.join(first, stage.others(first))
        while stage.cluster.coordinator.restore():
            pass
        stage.pass_ms(50)
        stage.crash(second)
        stage.leader(stage.others(second))
        assert stage.cluster.ledger.ballots_led >= 3
        stage.settle()


def test_a_coordinator_restored_with_an_older_membership_is_not_believed(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        stage.leader()
        coordinator = stage.cluster.coordinator
        before = coordinator.content.membership
        assert coordinator.cas_membership(before, Membership(2, before.voters))

        def generations() -> set[int]:
            return {stage.node(number).core.state.membership.generation for number in (1, 2, 3)}

        stage.until(lambda: generations() == {2})
        stage.leader()
        while coordinator.restore():
            pass
        stage.pass_ms(100)
        assert generations() == {2}
        assert any(stage.machine(number).alarms[Concern.MEMBERSHIP_OLD] for number in (1, 2, 3))
        stage.settle()
