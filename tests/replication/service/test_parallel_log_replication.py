"""A replicated log with real disks, a real coordinator and messages over gRPC."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

from replication.consensus.interface.effects import Concern
from tests.eventually import eventually
from tests.replication.service.cluster import NODES, Cluster, Member


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path)
    cluster.start()
    yield cluster
    failures = [member.machine.failure for member in cluster.members.values() if member.machine.failure]
    alarms = [alarm for member in cluster.members.values() for alarm in member.machine.alarms]
    cluster.close()
    assert not failures
    assert Concern.LOG_DIFFERS not in [alarm.concern for alarm in alarms]


def commit(cluster: Cluster, blocks: int) -> list[bytes]:
    """Have so many blocks committed, by whoever leads, and return their hashes in order.

    On a busy machine leaders change without a fault. What one sealed and did not see committed may be lost.
    """
    committed: list[bytes] = []
    while len(committed) < blocks:
        leader = cluster.leader()
        ballot = leader.machine.ballot
        sealed = [found for _ in range(min(20, blocks - len(committed))) if (found := leader.seal())]

        def settled(leader: Member = leader, ballot: object = ballot, sealed: list[bytes] = sealed) -> bool:
            return leader.machine.ballot != ballot or set(sealed) <= set(leader.machine.committed_hashes)

        eventually(settled, "commits")
        committed += [found for found in leader.machine.committed_hashes if found in sealed]
    return committed


def in_order(wanted: list[bytes], found: list[bytes]) -> bool:
    """Whether all that is wanted was found, in that order, each once."""
    return [each for each in found if each in wanted] == wanted


def test_what_a_leader_seals_is_committed_on_all_nodes_in_order(cluster: Cluster) -> None:
    sealed = commit(cluster, 300)
    assert in_order(sealed, cluster.wait_until_equal(301))


def test_a_follower_that_stops_costs_no_commit_and_catches_up_when_it_is_back(cluster: Cluster) -> None:
    follower = next(node for node in NODES if node != cluster.leader().node)
    cluster.stop(follower)
    sealed = commit(cluster, 200)
    cluster.start(follower)
    assert in_order(sealed, cluster.wait_until_equal(201))


def test_a_leader_that_stops_is_followed_by_another_that_has_all_that_was_committed(cluster: Cluster) -> None:
    sealed = commit(cluster, 100)
    first = cluster.leader().node
    cluster.stop(first)
    sealed += commit(cluster, 100)
    cluster.start(first)
    assert in_order(sealed, cluster.wait_until_equal(202))


def test_a_leader_that_is_cut_off_steps_down_and_its_blocks_are_no_commits(cluster: Cluster) -> None:
    before = commit(cluster, 20)
    first = cluster.leader()
    first.cut_off()
    lost = {first.seal() for _ in range(20)}
    cluster.leader(first.node)
    eventually(lambda: not first.machine.is_open, "its stepping down")
    assert not lost & set(first.machine.committed_hashes)
    cluster.stop(first.node)
    after = commit(cluster, 20)
    cluster.start(first.node)
    committed = cluster.wait_until_equal(42)
    assert not lost & set(committed)
    assert in_order(before + after, committed)


def test_all_nodes_start_again_with_what_was_committed(cluster: Cluster) -> None:
    sealed = commit(cluster, 50)
    committed = cluster.wait_until_equal(51)
    for node in NODES:
        cluster.stop(node)
    cluster.start()
    commit(cluster, 1)
    assert cluster.wait_until_equal(53)[: len(committed)] == committed
    assert in_order(sealed, committed)


def test_another_node_leads_after_a_hand_over(cluster: Cluster) -> None:
    commit(cluster, 10)

    def handed_over() -> bool:
        leader = cluster.leader()
        to = next(node for node in NODES if node != leader.node)
        return leader.service.hand_over(to).result(10) and cluster.leader(leader.node).node == to

    eventually(handed_over, "a hand-over")
    commit(cluster, 10)


def test_a_read_is_confirmed_by_the_leader_alone(cluster: Cluster) -> None:
    commit(cluster, 5)
    followers: list[Member] = []

    def confirmed() -> bool:
        leader = cluster.leader()
        followers[:] = [member for member in cluster.members.values() if member is not leader]
        read = leader.service.confirm_read()
        with contextlib.suppress(CancelledError):
            return read.result(10) >= 6
        return False

    eventually(confirmed, "a confirmed read")
    refused = followers[0].service.confirm_read()
    eventually(refused.done, "an answer")
    assert refused.cancelled() or followers[0].machine.is_open


def test_metrics_tell_who_takes_part_and_how_far_it_is(cluster: Cluster) -> None:
    sealed = commit(cluster, 50)

    def complete() -> bool:
        metrics = cluster.leader().service.get_replication_metrics()
        replicas = metrics.replicas
        return metrics.leads and metrics.active_replicas == 3 and all(each.lag_blocks == 0 for each in replicas)

    eventually(complete, "all nodes")
    leader = cluster.leader()
    metrics = leader.service.get_replication_metrics()
    assert metrics.leader.node == metrics.node == leader.node
    assert metrics.commit_index > len(sealed)
    assert [replica.node for replica in metrics.replicas] == [node for node in NODES if node != leader.node]
    assert all(replica.votes for replica in metrics.replicas)
    assert leader.service.optimize_replication_paths() == {replica.node: () for replica in metrics.replicas}
    proposed = [member.service.get_replication_metrics() for member in cluster.members.values()]
    assert max(each.entries_committed for each in proposed) >= 500
    assert any(0 < each.commit_p50_ms <= each.commit_p99_ms for each in proposed)
