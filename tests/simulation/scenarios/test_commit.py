"""Commit and acknowledgement, where it went wrong in public."""

from pathlib import Path

import pytest

from replication.consensus.interface.messages import Ack
from simulation.cluster.wire import Envelope, NotLeader, Receipt, Unknown
from simulation.promises.violation import Rule, Violation
from simulation.variants.hunt import VARIANTS
from simulation.world.crash import Crash
from tests.simulation.scenarios.stage import Stage, hand_over, staged

BROKEN = {variant.name: variant for variant in VARIANTS}


def copies_of_an_old_ballot(stage: Stage) -> None:
    """Raft's figure 8: blocks of the first leader reach a majority under the third, beside the second's."""
    first = stage.leader()
    stage.cut(first, stage.others(first))
    last = stage.node(first).log.last_index
    stage.submit(first, 12)
    stage.durable(first, last + 12)
    stage.crash(first)
    second = stage.candidate(stage.others(first))
    (third,) = (number for number in stage.others(first) if number != second)
    stage.cut(second, third)
    stage.durable(second, last + 1)
    stage.crash(second)
    stage.join(first, stage.others(first))
    stage.start(first)
    stage.leader([first, third])


@pytest.mark.parametrize("seed", range(6))
def test_a_block_of_an_old_ballot_is_committed_only_by_one_of_the_leaders_own(tmp_path: Path, seed: int) -> None:
    with staged(tmp_path, seed=seed) as stage:
        copies_of_an_old_ballot(stage)
        stage.settle()


def test_copies_of_an_old_ballot_that_are_counted_are_noticed(tmp_path: Path) -> None:
    noticed = 0
    for seed in range(6):
        with BROKEN["counts-copies-of-old-ballots"].applied(), staged(tmp_path / str(seed), seed=seed) as stage:
            try:
                copies_of_an_old_ballot(stage)
            except Violation as violation:
                noticed += violation.rule is Rule.SURVIVES_WHOEVER_LEADS
    assert noticed


def test_blocks_of_an_old_ballot_that_are_taken_for_the_leaders_are_noticed(tmp_path: Path) -> None:
    noticed = 0
    for seed in range(6):
        with BROKEN["commits-what-does-not-match"].applied(), staged(tmp_path / str(seed), seed=seed) as stage:
            try:
                copies_of_an_old_ballot(stage)
                stage.settle()
            except Violation as violation:
                noticed += violation.rule is Rule.COMMITTED_SURVIVES
    assert noticed


def acknowledgement_of_an_old_ballot(stage: Stage) -> None:
    """A delayed acknowledgement of blocks that were cut since arrives when their sender leads again."""
    first = stage.leader()
    partner, helper, *rest = stage.others(first)
    late: list[Envelope] = []
    deliver = stage.cluster.network.deliver

    def listen(source: int, target: int, message: object) -> None:
        if (source, target) == (partner, first) and isinstance(message, Envelope) and isinstance(message.message, Ack):
            late.append(message)
        deliver(source, target, message)

    stage.cut([first, partner], [helper, *rest])
    stage.cluster.network.deliver = listen
    last = stage.node(first).log.last_index
    stage.submit(first, 5)
    stage.until(lambda: any(_index_of(message) == last + 5 for message in late))
    stage.cluster.network.deliver = deliver
    second = stage.leader([helper, *rest])
    stage.settle()
    hand_over(stage, second, first)
    stage.until(lambda: stage.node(first).sequencer.open)
    stage.cut(first, [partner, *rest])
    stage.submit(first, 10)
    stage.durable(helper, last + 8)
    deliver(partner, first, late[-1])
    stage.pass_ms(20)


def _index_of(envelope: Envelope) -> int:
    assert isinstance(envelope.message, Ack)
    return envelope.message.durable_index


def test_an_acknowledgement_of_an_old_ballot_counts_for_nothing(tmp_path: Path) -> None:
    with staged(tmp_path, nodes=5) as stage:
        acknowledgement_of_an_old_ballot(stage)
        stage.settle()


def test_an_acknowledgement_of_an_old_ballot_that_is_counted_is_noticed(tmp_path: Path) -> None:
    with (
        BROKEN["counts-acknowledgements-of-other-streams"].applied(),
        staged(tmp_path, nodes=5) as stage,
        pytest.raises(Violation, match=Rule.DURABLE_ON_A_QUORUM.value),
    ):
        acknowledgement_of_an_old_ballot(stage)


@pytest.mark.parametrize("seed", range(4))
def test_a_stale_tail_is_not_committed_by_a_high_commit_index(tmp_path: Path, seed: int) -> None:
    with staged(tmp_path, seed=seed) as stage:
        first = stage.leader()
        second, stale = stage.depose(first)
        stage.submit(second, 12)
        stage.until(lambda: stage.commit_index > stale)
        stage.join(first, stage.others(first))
        stage.settle()


def test_a_heartbeat_is_answered_by_what_is_synced_alone(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        first = stage.leader()
        stage.settle()
        for other in stage.others(first):
            stage.machine(other).device.hang()
        committed = stage.commit_index
        stage.submit(first)
        stage.until(lambda: all(stage.node(other).log.last_index == committed + 1 for other in stage.others(first)))
        stage.pass_ms(70)
        assert stage.commit_index == committed
        assert not stage.answers
        stage.settle()
        assert stage.commit_index > committed


def test_a_learner_acknowledges_and_is_not_counted(tmp_path: Path) -> None:
    with staged(tmp_path, nodes=4, learners=1) as stage:
        first = stage.leader()
        assert first != 4
        stage.settle()
        committed = stage.commit_index
        for voter in {1, 2, 3} - {first}:
            stage.machine(voter).device.hang()
        stage.submit(first)
        stage.durable(4, committed + 1)
        stage.pass_ms(70)
        assert stage.commit_index == committed
        stage.settle()


def test_a_deposed_leader_answers_unknown_and_no_more(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        first = stage.leader()
        second, _ = stage.depose(first)
        stage.cluster.coordinator.outages += 1
        stage.join(first, stage.others(first))
        stage.pass_ms(300)
        assert {type(answer) for answer in stage.answers} <= {Unknown, NotLeader}
        assert len(stage.answers) == 5
        assert stage.leader() == second
        stage.settle()


def test_a_node_that_restarts_applies_nothing_that_is_not_committed(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        first = stage.leader()
        _, stale = stage.depose(first)
        stage.crash(first, Crash.PROCESS)
        stage.start(first)
        assert stage.node(first).log.last_index == stale
        assert stage.node(first).applier.index <= stage.commit_index
        stage.join(first, stage.others(first))
        stage.settle()


def test_a_client_that_retries_after_the_leader_died_is_applied_once(tmp_path: Path) -> None:
    with staged(tmp_path) as stage:
        first = stage.leader()
        stage.submit(first)
        stage.committed(1)
        stage.crash(first, Crash.PROCESS)
        stage.answers.clear()
        stage._sequence = 0
        second = stage.leader(stage.others(first))
        stage.submit(second)
        stage.until(lambda: any(isinstance(answer, Receipt) for answer in stage.answers))
        stage.settle()
        assert [stage.node(number).applier.counter(999) for number in (1, 2, 3)] == [1, 1, 1]
