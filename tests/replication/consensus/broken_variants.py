"""Broken variants of the core: for each rule one that does without it, which tests must notice."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from replication.consensus import follower
from replication.consensus.candidate import Candidate
from replication.consensus.core import Core
from replication.consensus.follower import Follower
from replication.consensus.interface.effects import StorePromise, Truncate
from replication.consensus.interface.events import BlocksDurable, EpochDecided, Started
from replication.consensus.interface.header import Header, Tip
from replication.consensus.interface.membership import Membership
from replication.consensus.interface.messages import Ack, Heartbeat, StreamOpened
from replication.consensus.interface.promise import Promise
from replication.consensus.leader import Leader
from replication.consensus.node_state import NodeState
from replication.consensus.progress import Progress
from replication.consensus.rejoin import Rejoining
from replication.consensus.suspicion import Suspicion
from replication.log.ballot import NO_BALLOT, Ballot

Variant = Callable[[pytest.MonkeyPatch], None]


def answers_before_its_promise_is_stored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(NodeState, "bound", True)


def forgets_promises_at_a_restart(patch: pytest.MonkeyPatch) -> None:
    store = NodeState._store

    def broken(self: NodeState, promise: Promise) -> None:
        ballot = self.promise.ballot
        store(self, promise)
        last = self.effects.pop()
        assert isinstance(last, StorePromise)
        self.effects.append(last._replace(promise=replace(last.promise, ballot=ballot)))

    patch.setattr(NodeState, "_store", broken)


def acknowledges_before_the_sync(patch: pytest.MonkeyPatch) -> None:
    acknowledge = Follower.acknowledge

    def broken(self: Follower, state: NodeState) -> None:
        durable_index = state.outline.durable_index
        state.outline.durable_index = max(durable_index, self.matched_index)
        acknowledge(self, state)
        state.outline.durable_index = durable_index

    patch.setattr(Follower, "acknowledge", broken)


def acknowledges_what_is_not_matched(patch: pytest.MonkeyPatch) -> None:
    acknowledge = Follower.acknowledge

    def broken(self: Follower, state: NodeState) -> None:
        matched_index = self.matched_index
        self.matched_index = state.outline.durable_index
        acknowledge(self, state)
        self.matched_index = matched_index

    patch.setattr(Follower, "acknowledge", broken)
    patch.setattr(Leader, "acknowledged", _acknowledged_without_looking)


def _acknowledged_without_looking(self: Leader, state: NodeState, sender: int, message: Ack) -> None:
    """Count an acknowledgement whatever its hash is."""
    peer = self.peers[sender]
    if message.stream == peer.stream and peer.opened:
        peer.counts = True
        peer.acknowledge(min(message.durable_index, state.outline.tip.index))
        self._advance(state)


def takes_for_committed_what_is_not_matched(patch: pytest.MonkeyPatch) -> None:
    def broken(self: Follower, state: NodeState) -> None:
        state.commit(min(self.leader_commit_index, state.outline.durable_index))

    patch.setattr(Follower, "commit", broken)


def cuts_without_a_proven_conflict(patch: pytest.MonkeyPatch) -> None:
    def broken(state: NodeState, headers: tuple[Header, ...]) -> int:
        after_index = headers[0].index - 1
        if after_index < state.outline.tip.index:
            state.outline.cut(after_index)
            state.cut += 1
            state.effects.append(Truncate(state.cut, after_index))
        state.write(headers)
        return headers[-1].index

    patch.setattr(follower, "adopt", broken)


def commits_blocks_of_earlier_ballots_by_counting(patch: pytest.MonkeyPatch) -> None:
    def broken(self: Leader, state: NodeState) -> None:
        durable = {peer.node: peer.durable_index for peer in self.peers.values() if peer.counts}
        durable[state.node] = state.outline.durable_index
        state.commit(max(state.commit_index, state.membership.quorum_index(durable)))

    patch.setattr(Leader, "_advance", broken)


def counts_its_own_blocks_before_they_are_synced(patch: pytest.MonkeyPatch) -> None:
    advance = Leader._advance

    def broken(self: Leader, state: NodeState) -> None:
        durable_index = state.outline.durable_index
        state.outline.durable_index = state.outline.tip.index
        advance(self, state)
        state.outline.durable_index = durable_index

    patch.setattr(Leader, "_advance", broken)


def counts_one_too_few(patch: pytest.MonkeyPatch) -> None:
    def broken(self: Membership, durable: dict[int, int]) -> int:
        return sorted((durable.get(node, 0) for node in self.voters), reverse=True)[len(self.voters) // 2 - 1]

    patch.setattr(Membership, "quorum_index", broken)


def leads_with_its_own_log(patch: pytest.MonkeyPatch) -> None:
    def broken(self: Candidate, state: NodeState) -> bool:
        return state.membership.is_quorum([state.node, *self._votes(state)])

    patch.setattr(Candidate, "_choose", broken)


def chooses_the_longest_log(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Tip, "rank", property(lambda tip: (tip.index, tip.ballot)))


def takes_logs_for_equal_up_to_the_others_commit_index(patch: pytest.MonkeyPatch) -> None:
    def broken(self: Candidate, state: NodeState) -> int:
        assert self._target is not None
        return state.outline.fork_index(self._target, self._target.commit_index)

    patch.setattr(Candidate, "_fork_index", broken)


def tries_a_ballot_again(patch: pytest.MonkeyPatch) -> None:
    def want_epoch(self: Suspicion, state: NodeState) -> None:
        self.wanted_epoch = max(1, state.coordinator_epoch)

    def decided(_self: Suspicion, state: NodeState, event: EpochDecided) -> Ballot:
        if Ballot(event.epoch, event.node) <= state.promised:
            state.promise = replace(state.promise, ballot=NO_BALLOT)
        return Ballot(event.epoch, event.node)

    patch.setattr(Suspicion, "want_epoch", want_epoch)
    patch.setattr(Suspicion, "decided", decided)


def believes_late_completions(patch: pytest.MonkeyPatch) -> None:
    def broken(self: NodeState, event: BlocksDurable) -> bool:
        index = min(event.durable_index, self.outline.tip.index)
        if index <= self.outline.durable_index:
            return False
        self.outline.durable_index = index
        return True

    patch.setattr(NodeState, "durable", broken)


def counts_learners(patch: pytest.MonkeyPatch) -> None:
    def broken(self: Leader, state: NodeState) -> None:
        durable = sorted([state.outline.durable_index, *(peer.durable_index for peer in self.peers.values())])
        index = durable[-(len(state.membership.voters) // 2 + 1)]
        if index > state.commit_index and self.epoch_index and index >= self.epoch_index:
            state.commit(index)
            self.intake_opened = True

    patch.setattr(Leader, "_advance", broken)


def confirms_reads_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Leader, "_quorum_answered", lambda _self, _state, _round: True)


def reads_before_its_own_block_is_committed(patch: pytest.MonkeyPatch) -> None:
    def broken(self: Leader, state: NodeState) -> None:
        if self.reads.waiting and not self.reads.round:
            self.heartbeat(state)
            self.reads.begin(self.round, state.commit_index)
            self.reads.confirm(state, self._quorum_answered(state, self.round))

    patch.setattr(Leader, "_ask_round", broken)


def votes_with_an_empty_disk(patch: pytest.MonkeyPatch) -> None:
    begin = Core._started

    def broken(self: Core, event: Started) -> None:
        self.state.promise = replace(self.state.promise, voting=True)
        self.state.voting = True
        begin(self, event)

    patch.setattr(Core, "_started", broken)


def rejoins_without_catching_up(patch: pytest.MonkeyPatch) -> None:
    def broken(self: Rejoining, state: NodeState, matched_index: int) -> bool:
        if self.target_index is None:
            return False
        state.bind(voting=True)
        return True

    patch.setattr(Rejoining, "ended", broken)


def rejoins_with_any_leader(patch: pytest.MonkeyPatch) -> None:
    def broken(self: Rejoining, _state: NodeState, message: Heartbeat) -> None:
        self.target_index = message.last_index

    patch.setattr(Rejoining, "heard", broken)


def counts_promises_of_lost_disks(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Candidate, "_votes", lambda self, _state: [n for n, s in sorted(self.sealed.items()) if s.voting])


def takes_the_report_of_a_log_for_an_acknowledgement(patch: pytest.MonkeyPatch) -> None:
    stream_opened = Leader.stream_opened

    def broken(self: Leader, state: NodeState, sender: int, message: StreamOpened) -> None:
        stream_opened(self, state, sender, message)
        peer: Progress = self.peers[sender]
        peer.counts = True
        peer.acknowledge(min(message.extent.tip.index, state.outline.tip.index))
        self._advance(state)

    patch.setattr(Leader, "stream_opened", broken)


ALL: tuple[Variant, ...] = (
    answers_before_its_promise_is_stored,
    forgets_promises_at_a_restart,
    acknowledges_before_the_sync,
    acknowledges_what_is_not_matched,
    takes_for_committed_what_is_not_matched,
    cuts_without_a_proven_conflict,
    commits_blocks_of_earlier_ballots_by_counting,
    counts_its_own_blocks_before_they_are_synced,
    counts_one_too_few,
    leads_with_its_own_log,
    chooses_the_longest_log,
    takes_logs_for_equal_up_to_the_others_commit_index,
    tries_a_ballot_again,
    believes_late_completions,
    counts_learners,
    confirms_reads_at_once,
    reads_before_its_own_block_is_committed,
    votes_with_an_empty_disk,
    rejoins_without_catching_up,
    rejoins_with_any_leader,
    counts_promises_of_lost_disks,
    takes_the_report_of_a_log_for_an_acknowledgement,
)
