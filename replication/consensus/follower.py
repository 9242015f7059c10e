"""Follower: a node's side of the stream of blocks from a leader.

The stream begins where the leader found both logs equal. What it carries is proven to follow that, by hashes, so
`matched_index` grows block by block; only what is matched *and* synced is ever acknowledged or taken for committed.
"""

from replication.consensus.adoption import adopt
from replication.consensus.interface.effects import Concern
from replication.consensus.interface.messages import (
    NO_ROUND,
    Ack,
    Append,
    Heartbeat,
    OpenStream,
    Refusal,
    Refused,
    StreamOpened,
)
from replication.consensus.node_state import NodeState
from replication.log.ballot import Ballot


class Follower:
    """One stream from one leader. It lasts as long as the leader's ballot is the highest promised."""

    __slots__ = ("ballot", "heard_progress", "leader_commit_index", "matched_index", "round", "stream")

    def __init__(self, state: NodeState, ballot: Ballot, stream: int) -> None:
        self.ballot = ballot
        self.stream = stream
        self.matched_index = state.commit_index  # every leader's log holds what is committed
        self.leader_commit_index = 0
        self.round = 0
        self.heard_progress = 0

    def open(self, state: NodeState, message: OpenStream) -> None:
        """Answer a leader that begins the stream, or asks again because the answer was lost."""
        assert message.ballot == self.ballot == state.promised
        state.sign_of_progress()
        promise = state.promise
        answer = StreamOpened(
            self.ballot, promise.membership.generation, self.stream, promise.incarnation, state.voting, state.extent
        )
        state.send(self.ballot.node, answer)

    def append(self, state: NodeState, message: Append) -> None:
        """Take blocks, or say where those before them are missing or differ."""
        previous = message.headers[0].index - 1
        if previous > self.matched_index:
            own_hash = state.outline.hash_at(previous)
            if own_hash is None:
                self._refuse(state, Refusal.GAP, self.matched_index)
                return
            if own_hash != message.headers[0].previous_hash:
                self._refuse(state, Refusal.CONFLICT, previous)
                return
        matched = adopt(state, message.headers)
        if matched < message.headers[-1].index:
            self._refuse(state, Refusal.CONFLICT, matched + 1)
            return
        self.matched_index = max(self.matched_index, matched)
        self.leader_commit_index = max(self.leader_commit_index, message.commit_index)
        self.commit(state)
        if state.outline.durable_index >= matched:
            self.acknowledge(state)  # nothing was new: no sync will tell the leader

    def heartbeat(self, state: NodeState, message: Heartbeat) -> None:
        """Note that the leader leads, and tell how far this node is."""
        if message.progress > self.heard_progress:
            self.heard_progress = message.progress
            state.sign_of_progress()
        self.round = max(self.round, message.round)
        self.leader_commit_index = max(self.leader_commit_index, message.commit_index)
        self.commit(state)
        if message.sent_index > self.matched_index:
            self._refuse(state, Refusal.GAP, self.matched_index)
        if message.round != NO_ROUND:
            self.acknowledge(state)

    def acknowledge(self, state: NodeState) -> None:
        """Tell the leader what is synced and equal to its log."""
        promise = state.promise
        assert promise.ballot == self.ballot, "nothing is acknowledged to a leader whose ballot is sealed"
        durable_index = min(state.outline.durable_index, self.matched_index)
        ack = Ack(
            self.ballot,
            promise.membership.generation,
            self.stream,
            promise.incarnation,
            state.voting,
            durable_index,
            state.outline.hash_at(durable_index) or b"",
            self.round,
        )
        state.send(self.ballot.node, ack)

    def commit(self, state: NodeState) -> None:
        """Take for committed what the leader does, as far as it is durable here and proven to be the leader's."""
        state.commit(min(self.leader_commit_index, self.matched_index, state.outline.durable_index))

    def _refuse(self, state: NodeState, reason: Refusal, at_index: int) -> None:
        generation = state.membership.generation
        refusal = Refused(state.promised, generation, self.ballot, reason, self.stream, at_index)
        state.send(self.ballot.node, refusal)
        if reason is Refusal.CONFLICT and at_index <= state.commit_index:
            state.alarm(Concern.LOG_DIFFERS, state.node, at_index)
