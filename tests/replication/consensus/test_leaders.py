"""Who leads, for how long, and who comes next."""

from dataclasses import replace

from replication.consensus.interface.config import ConsensusConfig
from replication.consensus.interface.effects import (
    Alarm,
    CloseIntake,
    Concern,
    HandOverEnded,
    OpenIntake,
    RefuseRead,
    SteppedDown,
)
from replication.consensus.interface.events import HandOverRequested, MembershipOffered, ReadRequested, StorageFailed
from replication.consensus.interface.membership import Membership
from replication.consensus.interface.messages import (
    Append,
    Fetch,
    Fetched,
    Heartbeat,
    OpenStream,
    Presence,
    Refusal,
    Refused,
    Seal,
    Sealed,
)
from replication.consensus.interface.promise import Incarnation, Promise
from replication.log.ballot import NO_BALLOT, Ballot
from tests.replication.consensus.cluster import Cluster

SECOND_NS = 1_000_000_000


def test_a_cluster_without_a_leader_gets_one_by_itself() -> None:
    cluster = Cluster()
    cluster.pass_time(SECOND_NS)
    assert len(cluster.leaders()) == 1


def test_a_leader_without_faults_leads_for_ever() -> None:
    cluster = Cluster()
    cluster.pass_time(SECOND_NS)
    leaders = cluster.leaders()
    cluster.pass_time(60 * SECOND_NS)
    assert cluster.leaders() == leaders
    assert not cluster.of(leaders[0], SteppedDown)


def test_another_node_takes_over_from_a_dead_leader_and_loses_nothing_committed() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.propose(1, 5)
    committed = cluster.logs[1]
    del cluster.cores[1]
    cluster.pass_time(SECOND_NS)
    (leader,) = cluster.leaders()
    assert cluster.logs[leader][:6] == committed
    assert cluster.cores[leader].commit_index == 7


def test_a_leader_that_hears_nobody_steps_down() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.cut = {(2, 1), (3, 1)}  # it can still send
    cluster.pass_time(2 * SECOND_NS)
    assert 1 not in cluster.leaders()
    assert len(cluster.leaders()) == 1


def test_a_leader_whose_disk_hangs_steps_down_though_others_acknowledge() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.hanging = {1: []}
    cluster.propose(1)
    assert cluster.cores[1].commit_index == 2
    cluster.pass_time(2 * SECOND_NS)
    assert cluster.of(1, SteppedDown)[0].commit_index == 2


def test_a_leader_whose_storage_fails_says_so_and_does_nothing_any_more() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.give(1, StorageFailed(cluster.now_ns))
    assert cluster.of(1, SteppedDown)
    assert cluster.cores[1].handle(ReadRequested(1, 0)) == []


def test_a_node_that_hears_nobody_disturbs_nobody_when_it_comes_back() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.isolate(3)
    cluster.pass_time(5 * SECOND_NS)
    cluster.cut.clear()
    cluster.pass_time(SECOND_NS)
    assert cluster.leaders() == [1]
    assert not cluster.of(1, SteppedDown)


def test_a_leader_goes_on_without_a_coordinator() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.coordinator_works = False
    cluster.pass_time(5 * SECOND_NS)
    cluster.propose(1)
    assert cluster.leaders() == [1]
    assert cluster.cores[1].commit_index == 2


def test_a_coordinator_restored_to_an_earlier_epoch_gives_none_twice() -> None:
    cluster = Cluster()
    for node in (1, 2, 1, 2):
        cluster.elect(node)
    cluster.epoch = (1, 1)
    del cluster.cores[2]
    cluster.pass_time(2 * SECOND_NS)
    (leader,) = cluster.leaders()
    assert cluster.cores[leader].leader_ballot.epoch > 4


def test_a_candidate_reads_what_it_lacks_from_the_best_log_and_cuts_its_own_end() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.isolate(1)
    cluster.propose(1, 3)  # on node 1 alone
    cluster.elect(2)
    cluster.propose(2, 2)
    committed = cluster.logs[2]
    cluster.cut.clear()
    cluster.start(1)
    cluster.elect(1)  # the ballot is too low
    cluster.elect(1)
    assert cluster.leaders() == [1]
    assert cluster.logs[1][: len(committed)] == committed


def test_a_deposed_leaders_own_blocks_give_way_to_those_of_the_next() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.isolate(1)
    cluster.propose(1, 3)
    cluster.elect(2)
    cluster.cut.clear()
    cluster.pass_time(SECOND_NS)
    assert cluster.logs[1] == cluster.logs[2] == cluster.logs[3]
    assert cluster.of(1, SteppedDown)[0].commit_index == 1


def test_a_ballot_never_leads_again() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.start(1)
    cluster.pass_time(2 * SECOND_NS)
    (leader,) = cluster.leaders()
    assert cluster.cores[leader].leader_ballot > Ballot(1, 1)


def test_lower_ballots_are_refused_for_appends_seals_and_recovery_reads() -> None:
    cluster = Cluster()
    cluster.elect(1)
    append = cluster.said(1, Append)[0]
    cluster.elect(2)
    for message in (append, Seal(Ballot(1, 1), 1), Fetch(Ballot(1, 1), 1, 1, 1)):
        cluster.receive(3, 1, message)
        refusal = cluster.said(3, Refused)[-1]
        assert (refusal.reason, refusal.ballot) == (Refusal.BALLOT, Ballot(2, 2))


def test_a_recovery_read_seals_like_a_seal() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.receive(3, 2, Fetch(Ballot(2, 2), 1, 1, 1))
    assert cluster.promises[3].ballot == Ballot(2, 2)
    assert cluster.said(3, Fetched)[-1].presence is Presence.HAVE


def test_a_promise_survives_stepping_down_and_a_restart() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.cut = {(2, 1), (3, 1)}
    cluster.coordinator_works = False
    cluster.pass_time(SECOND_NS)
    assert cluster.cores[1].state.promised == Ballot(1, 1)
    cluster.start(1)
    assert cluster.cores[1].state.promised == Ballot(1, 1)


def test_a_node_that_lost_its_disk_votes_only_with_all_that_it_may_have_acknowledged() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.propose(1, 3)
    cluster.logs[3] = ()
    cluster.promises[3] = Promise(NO_BALLOT, cluster.membership, Incarnation(1, 33), voting=False)
    cluster.isolate(1)
    cluster.start(3)
    cluster.elect(2)
    assert 2 not in cluster.leaders()
    assert cluster.said(3, Sealed)[-1].voting is False
    cluster.cut.clear()
    cluster.pass_time(2 * SECOND_NS)
    assert cluster.promises[3].voting
    assert cluster.logs[3][:4] == cluster.logs[1][:4]


def test_a_heartbeat_from_before_a_disk_was_lost_does_not_say_how_long_the_log_must_be() -> None:
    cluster = Cluster()
    cluster.elect(1)
    early = cluster.said(1, OpenStream)[-1], cluster.said(1, Append)[-1], cluster.said(1, Heartbeat)[-1]
    cluster.propose(1, 3)
    cluster.logs[3] = ()
    cluster.promises[3] = Promise(NO_BALLOT, cluster.membership, Incarnation(1, 33), voting=False)
    cluster.cut = {(1, 3)}
    cluster.start(3)
    cluster.cut = set()
    cluster.pass_time(cluster.config.retry_ns // 2)
    cluster.logs[3] = ()
    cluster.promises[3] = Promise(NO_BALLOT, cluster.membership, Incarnation(2, 34), voting=False)
    cluster.start(3)
    cluster.cut = {(3, 1)}
    for message in early:
        cluster.receive(3, 1, message)
    assert not cluster.promises[3].voting


def test_a_node_that_forgot_says_unknown_and_never_that_it_never_had() -> None:
    cluster = Cluster()
    cluster.promises[3] = Promise(NO_BALLOT, cluster.membership, Incarnation(1, 33), voting=False)
    cluster.isolate(3)
    cluster.start(3)
    cluster.receive(3, 2, Fetch(Ballot(2, 2), 1, 1, 1))
    assert cluster.said(3, Fetched)[-1].presence is Presence.UNKNOWN


def test_a_damaged_end_is_cut_only_once_it_is_stored_that_the_node_does_not_vote() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.propose(1, 3)
    cluster.logs[3] = cluster.logs[3][:2]  # two more cannot be read
    restarted = len(cluster.done[3])
    cluster.start(3, doubtful_index=4)
    kinds = [type(effect).__name__ for effect in cluster.done[3]]
    assert [kind for kind in kinds[restarted:] if kind in ("StorePromise", "Truncate")][:2] == [
        "StorePromise",
        "Truncate",
    ]
    cluster.pass_time(SECOND_NS)
    assert cluster.promises[3].voting
    assert cluster.logs[3][:4] == cluster.logs[1][:4]


def test_a_node_that_was_damaged_counts_again_under_the_leader_that_it_had_before() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.propose(1, 3)
    for _ in range(2):
        doubtful_index = len(cluster.logs[3])
        cluster.logs[3] = cluster.logs[3][:2]
        cluster.start(3, doubtful_index)
        cluster.pass_time(SECOND_NS)
        cluster.propose(1)
    cluster.hanging = {2: []}
    cluster.propose(1)
    assert cluster.leaders() == [1]
    assert cluster.cores[1].commit_index == len(cluster.logs[1])


def test_a_node_that_keeps_the_log_alone_votes_and_never_leads() -> None:
    cluster = Cluster(config=replace(ConsensusConfig(), may_lead=False))
    cluster.pass_time(5 * SECOND_NS)
    assert cluster.leaders() == []
    cluster.elect(1)
    assert cluster.leaders() == [1]


def test_handing_over_closes_the_intake_and_another_leads_with_everything() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.propose(1, 3)
    cluster.give(1, HandOverRequested(2, cluster.now_ns))
    assert cluster.leaders() == [2]
    assert cluster.of(1, CloseIntake)[0].to == 2
    assert cluster.of(1, HandOverEnded) == [HandOverEnded(2, done=True)]
    assert cluster.cores[2].commit_index == 5


def test_handing_over_to_a_node_that_does_not_answer_ends_and_reopens_the_intake() -> None:
    cluster = Cluster()
    cluster.elect(1)
    cluster.isolate(2)
    cluster.give(1, HandOverRequested(2, cluster.now_ns))
    cluster.pass_time(SECOND_NS)
    assert cluster.of(1, HandOverEnded) == [HandOverEnded(2, done=False)]
    assert len(cluster.of(1, OpenIntake)) == 2
    assert cluster.leaders() == [1]


def test_a_node_that_does_not_lead_refuses_reads_and_hand_overs() -> None:
    cluster = Cluster()
    cluster.give(2, ReadRequested(7, 0), HandOverRequested(1, 0))
    assert cluster.of(2, RefuseRead) == [RefuseRead(7)]
    assert cluster.of(2, HandOverEnded) == [HandOverEnded(1, done=False)]


def test_an_older_membership_from_the_coordinator_changes_nothing() -> None:
    cluster = Cluster()
    newer = Membership(2, frozenset({1, 2, 3}), frozenset({4}))
    cluster.give(1, MembershipOffered(newer, 0))
    cluster.give(1, MembershipOffered(Membership(1, frozenset({1})), 0))
    assert cluster.promises[1].membership == newer
    assert cluster.of(1, Alarm) == [Alarm(Concern.MEMBERSHIP_OLD, 1, 1)]


def test_a_membership_whose_quorums_need_not_meet_the_current_ones_is_refused() -> None:
    cluster = Cluster()
    cluster.give(1, MembershipOffered(Membership(2, frozenset({1, 4, 5})), 0))
    assert cluster.promises[1].membership.generation == 1
    assert cluster.of(1, Alarm)[0].concern is Concern.MEMBERSHIP_UNSAFE


def test_nodes_tell_each_other_of_a_newer_membership() -> None:
    cluster = Cluster()
    newer = Membership(2, frozenset({1, 2, 3}), frozenset({4}))
    cluster.give(1, MembershipOffered(newer, 0))
    cluster.pass_time(2 * SECOND_NS)
    assert {promise.membership.generation for promise in cluster.promises.values()} == {2}
    assert len(cluster.leaders()) == 1
