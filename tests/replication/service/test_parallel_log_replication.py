"""A replicated log with real disks, a real coordinator and messages over gRPC."""

from collections.abc import Iterator
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


def seal(member: Member, blocks: int) -> list[bytes]:
    sealed = [member.seal() for _ in range(blocks)]
    return [block_hash for block_hash in sealed if block_hash is not None]


def test_what_a_leader_seals_is_committed_on_all_nodes_in_order(cluster: Cluster) -> None:
    sealed = seal(cluster.leader(), 300)
    assert len(sealed) == 300
    assert cluster.wait_until_equal(301)[-300:] == sealed


def test_a_follower_that_stops_costs_no_commit_and_catches_up_when_it_is_back(cluster: Cluster) -> None:
    leader = cluster.leader()
    follower = next(node for node in NODES if node != leader.node)
    cluster.stop(follower)
    sealed = seal(leader, 200)
    eventually(lambda: leader.machine.committed_hashes[-1:] == sealed[-1:], "commits without it")
    cluster.start(follower)
    assert cluster.wait_until_equal(201)[-200:] == sealed


def test_a_leader_that_stops_is_followed_by_another_that_has_all_that_was_committed(cluster: Cluster) -> None:
    first = cluster.leader()
    sealed = seal(first, 100)
    eventually(lambda: first.machine.committed_hashes[-1:] == sealed[-1:], "the commit")
    cluster.stop(first.node)
    second = cluster.leader()
    more = seal(second, 100)
    cluster.start(first.node)
    committed = cluster.wait_until_equal(202)
    assert [block_hash for block_hash in committed if block_hash in {*sealed, *more}] == sealed + more


def test_a_leader_that_is_cut_off_steps_down_and_its_blocks_are_no_commits(cluster: Cluster) -> None:
    first = cluster.leader()
    before = seal(first, 20)
    eventually(lambda: first.machine.committed_hashes[-1:] == before[-1:], "the commit")
    first.cut_off()
    lost = seal(first, 20)
    second = cluster.leader(first.node)
    eventually(lambda: not first.machine.is_open, "its stepping down")
    assert not set(lost) & set(first.machine.committed_hashes)
    after = seal(second, 20)
    cluster.stop(first.node)
    cluster.start(first.node)
    committed = cluster.wait_until_equal(42)
    assert not set(lost) & set(committed)
    assert [block_hash for block_hash in committed if block_hash in {*before, *after}] == before + after


def test_all_nodes_start_again_with_what_was_committed(cluster: Cluster) -> None:
    sealed = seal(cluster.leader(), 50)
    committed = cluster.wait_until_equal(51)
    for node in NODES:
        cluster.stop(node)
    cluster.start()
    seal(cluster.leader(), 1)
    assert cluster.wait_until_equal(53)[: len(committed)] == committed
    assert committed[-50:] == sealed


def test_another_node_leads_after_a_hand_over(cluster: Cluster) -> None:
    first = cluster.leader()
    to = next(node for node in NODES if node != first.node)
    seal(first, 10)
    assert first.service.hand_over(to).result(10)
    second = cluster.leader(first.node)
    assert second.node == to
    seal(second, 10)
    cluster.wait_until_equal(22)


def test_a_read_is_confirmed_by_the_leader_alone(cluster: Cluster) -> None:
    leader = cluster.leader()
    sealed = seal(leader, 5)
    eventually(lambda: leader.machine.committed_hashes[-1:] == sealed[-1:], "the commit")
    assert leader.service.confirm_read().result(10) >= 6
    follower = next(member for member in cluster.members.values() if member is not leader)
    refused = follower.service.confirm_read()
    eventually(refused.cancelled, "the refusal")


def test_metrics_tell_who_takes_part_and_how_far_it_is(cluster: Cluster) -> None:
    leader = cluster.leader()
    seal(leader, 50)
    cluster.wait_until_equal(51)
    eventually(lambda: leader.service.get_replication_metrics().active_replicas == 3, "all nodes")
    metrics = leader.service.get_replication_metrics()
    assert metrics.leads
    assert metrics.leader.node == metrics.node == leader.node
    assert metrics.entries_committed == 500
    assert metrics.commit_index >= 51
    assert 0 < metrics.commit_p50_ms <= metrics.commit_p99_ms
    assert [replica.node for replica in metrics.replicas] == [node for node in NODES if node != leader.node]
    assert all(replica.votes and replica.bytes_sent > 50 * 640 for replica in metrics.replicas)
    assert leader.service.optimize_replication_paths() == {replica.node: () for replica in metrics.replicas}
    follower = next(member for member in cluster.members.values() if member is not leader)
    assert follower.service.get_replication_metrics().leader == metrics.leader
    assert not follower.service.get_replication_metrics().replicas
