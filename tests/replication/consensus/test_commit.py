"""What is acknowledged, and what is committed."""

from dataclasses import replace

import pytest

from replication.consensus.interface.config import ConsensusConfig
from replication.consensus.interface.effects import OpenIntake, ReadBlocks
from replication.consensus.interface.messages import Ack, Append
from tests.replication.consensus.broken_variants import commits_blocks_of_earlier_ballots_by_counting
from tests.replication.consensus.cluster import Cluster


def test_one_node_alone_leads_at_once_and_commits_what_it_has_synced() -> None:
    cluster = Cluster(1)
    assert cluster.leaders() == [1]
    cluster.propose(1, 3)
    assert cluster.cores[1].commit_index == 4


def test_blocks_are_committed_once_a_quorum_has_synced_them() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.hanging = {2: [], 3: []}
    cluster.propose(1)
    assert cluster.cores[1].commit_index == 1
    cluster.complete(2, 1)
    assert cluster.cores[1].commit_index == 2


def test_a_block_of_an_earlier_ballot_on_a_majority_is_not_committed_by_that() -> None:
    cluster = Cluster(config=replace(ConsensusConfig(), message_bytes=100))
    cluster.elect(1)
    cluster.isolate(1)
    cluster.propose(1)  # on node 1 alone: another leader could cut it
    cluster.cut.clear()
    cluster.start(1)
    cluster.hanging = {2: [], 3: []}
    cluster.elect(1)
    cluster.complete(3, 1)
    assert [header.ballot.epoch for header in cluster.logs[3]] == [1, 1]
    assert cluster.cores[1].commit_index <= 1
    cluster.complete(3, 1)
    assert [header.ballot.epoch for header in cluster.logs[3]] == [1, 1, 2]
    assert cluster.cores[1].commit_index == 3


def test_an_acknowledgement_of_an_earlier_stream_counts_nothing() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.hanging = {2: [], 3: []}
    cluster.propose(1)
    last = cluster.said(2, Ack)[-1]
    tip = cluster.cores[1].state.outline.tip
    late = last._replace(stream=last.stream - 1, durable_index=tip.index, durable_hash=tip.hash)
    cluster.receive(1, 2, late)
    assert cluster.cores[1].commit_index == 1
    cluster.receive(1, 2, late._replace(stream=last.stream))
    assert cluster.cores[1].commit_index == 2


def test_an_acknowledgement_of_another_block_counts_nothing() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.hanging = {2: [], 3: []}
    cluster.propose(1)
    last = cluster.said(2, Ack)[-1]
    cluster.receive(1, 2, last._replace(durable_index=2, durable_hash=b"another"))
    assert cluster.cores[1].commit_index == 1


def test_a_learner_gets_everything_and_decides_nothing() -> None:
    cluster = Cluster(3, learners=frozenset({4}))
    cluster.elect(1)
    cluster.hanging = {2: [], 3: []}
    cluster.propose(1)
    assert len(cluster.logs[4]) == 2
    assert cluster.cores[1].commit_index == 1


def test_a_follower_learns_what_is_committed_though_nothing_follows() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.propose(1)
    assert [core.commit_index for core in cluster.cores.values()] == [2, 2, 2]


def test_the_intake_opens_only_with_the_own_first_block_on_a_quorum() -> None:
    cluster = Cluster()
    cluster.hanging = {2: [], 3: []}
    cluster.elect(1)
    assert cluster.leaders() == [1]
    assert not cluster.of(1, OpenIntake)


def test_a_follower_that_hangs_keeps_no_more_than_its_window_under_way_and_holds_nobody_back() -> None:
    config = replace(ConsensusConfig(), window_blocks=8, recent_blocks=16)
    cluster = Cluster(config=config)
    cluster.elect(1)
    cluster.hanging = {3: []}
    cluster.propose(1, 100)
    assert cluster.cores[1].commit_index == 101
    assert cluster.cores[3].state.outline.tip.index <= 1 + 8


def test_a_follower_that_was_away_is_brought_up_from_the_log() -> None:
    config = replace(ConsensusConfig(), window_blocks=8, recent_blocks=16)
    cluster = Cluster(config=config)
    cluster.elect(1)
    cluster.isolate(3)
    cluster.propose(1, 100)
    cluster.cut.clear()
    cluster.pass_time(config.heartbeat_ns * 2)
    assert cluster.of(1, ReadBlocks)
    assert cluster.logs[3] == cluster.logs[1]
    assert cluster.cores[3].commit_index == 101


def test_a_lost_block_is_sent_again() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.cut = {(1, 3)}
    cluster.propose(1)
    cluster.cut = set()
    cluster.propose(1)
    assert cluster.logs[3] == cluster.logs[1]


def test_a_follower_that_restarts_gets_a_new_stream() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.start(3)
    cluster.propose(1)
    assert cluster.logs[3] == cluster.logs[1]


def test_blocks_that_arrive_twice_or_late_cut_nothing() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.propose(1)
    first = next(message for message in cluster.said(1, Append) if message.headers[-1].index == 2)
    cluster.propose(1, 3)
    cluster.receive(2, 1, first)
    assert cluster.logs[2] == cluster.logs[1]
    assert cluster.cores[2].state.cut == 0


def test_counting_copies_of_earlier_ballots_would_lose_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    commits_blocks_of_earlier_ballots_by_counting(monkeypatch)
    with pytest.raises(AssertionError):
        test_a_block_of_an_earlier_ballot_on_a_majority_is_not_committed_by_that()
