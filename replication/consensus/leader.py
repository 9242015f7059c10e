"""Leader: commits blocks of its own ballot once a quorum has synced them.

A block of an earlier ballot is committed by what follows it: only with a block of the own ballot on a quorum is it sure
that no later leader lacks it (Ongaro and Ousterhout, section 5.4.2). So a leader begins with an empty block of its own;
until that is committed it answers no read and takes no transactions.
"""

from typing import Final

from replication.consensus.hand_over import HandOver
from replication.consensus.interface.effects import BeginEpoch, Concern, LeaderChanged, OpenIntake, SteppedDown
from replication.consensus.interface.events import BlocksRead, Timer
from replication.consensus.interface.header import Header
from replication.consensus.interface.messages import NO_ROUND, Ack, Heartbeat, Refusal, Refused, StreamOpened
from replication.consensus.node_state import NodeState
from replication.consensus.progress import Progress
from replication.consensus.reads import Reads
from replication.log.ballot import Ballot

_HEARTBEATS_PER_RECORD: Final = 8
"""How seldom the commit index is stored: that syncs a file beside the log, and others know it anyway."""


class Leader:
    """A leadership, from the quorum of promises on until it steps down. Its ballot never leads again."""

    __slots__ = (
        "_disk_index",
        "_disk_ns",
        "_disk_progress",
        "ballot",
        "epoch_index",
        "hand_over",
        "intake_opened",
        "peers",
        "reads",
        "round",
    )

    def __init__(self, state: NodeState) -> None:
        self.ballot: Ballot = state.promised
        self.epoch_index = 0
        """Of the block that opens the own ballot; 0 until it is proposed."""
        self.intake_opened = False
        self.round = 0
        self.reads = Reads()
        self.hand_over = HandOver()
        self.peers = {node: Progress(node, state.now_ns) for node in state.others}
        self._disk_index = state.outline.durable_index
        self._disk_ns = state.now_ns
        self._disk_progress = 1

    def begin(self, state: NodeState) -> None:
        """Have the ballot's first block sealed, and begin streams to all."""
        assert self.ballot.node == state.node
        state.sign_of_progress()
        state.effects.append(BeginEpoch(self.ballot, state.membership.generation, state.outline.tip))
        for peer in self.peers.values():
            peer.open(state, self.ballot)
        state.set_timer(Timer.HEARTBEAT, state.config.heartbeat_ns)

    def step_down(self, state: NodeState) -> None:
        """Answer everything that waits for this leadership."""
        self.hand_over.end(state, done=state.promised > self.ballot)
        self.reads.refuse(state)
        state.effects.append(SteppedDown(self.ballot, state.commit_index))

    def propose(self, state: NodeState, headers: tuple[Header, ...]) -> None:
        """Write blocks to the own log while they travel to all others."""
        if headers[0].ballot != self.ballot:
            return
        if not self.epoch_index:
            self.epoch_index = headers[0].index
        if state.outline.durable_index == state.outline.tip.index:
            self._disk_ns = state.now_ns  # the disk was idle until now
        state.write(headers)
        for peer in self.peers.values():
            peer.send(state, self.ballot)

    def durable(self, state: NodeState) -> None:
        """The own disk has more."""
        self._disk_ns = state.now_ns
        self._advance(state)

    def stream_opened(self, state: NodeState, sender: int, message: StreamOpened) -> None:
        """Begin to send."""
        peer = self.peers.get(sender)
        if peer is None or message.stream != peer.stream or peer.opened:
            return
        peer.heard_ns = state.now_ns
        state.learn_incarnation(sender, message.incarnation)
        if message.incarnation < state.promise.incarnation_of(sender):
            return
        peer.begin(state, message)
        peer.send(state, self.ballot)

    def acknowledged(self, state: NodeState, sender: int, message: Ack) -> None:
        """Count what a node has synced, if its voice counts."""
        peer = self.peers.get(sender)
        if peer is None or message.stream != peer.stream or not peer.opened:
            return
        peer.heard_ns = state.now_ns
        if message.incarnation != peer.incarnation or message.incarnation < state.promise.incarnation_of(sender):
            return
        own_hash = state.outline.hash_at(message.durable_index)
        if message.durable_index > state.outline.tip.index or (
            own_hash and message.durable_hash and own_hash != message.durable_hash
        ):
            peer.regressed = True
            state.alarm(Concern.LOG_DIFFERS, sender, message.durable_index)
        peer.counts = message.voting and not peer.regressed
        peer.round = max(peer.round, message.round)
        peer.acknowledge(message.durable_index)
        if peer.durable_index > state.commit_index:
            self._advance(state)
        if self.reads.round:
            self.reads.confirm(state, self._quorum_answered(state, self.reads.round))
            self._ask_round(state)
        if peer.next_index <= state.outline.tip.index:
            peer.send(state, self.ballot)
        if self.hand_over.to:
            self.hand_over.permit(state, self.ballot, peer)

    def refused(self, state: NodeState, sender: int, message: Refused) -> None:
        """Begin a stream anew, or send again what did not arrive."""
        peer = self.peers.get(sender)
        if peer is None or message.stream != peer.stream:
            return
        peer.heard_ns = state.now_ns
        if message.reason is Refusal.NO_STREAM:
            if peer.opened:
                peer.open(state, self.ballot)
        elif peer.resume(state, message):
            peer.send(state, self.ballot)

    def blocks_read(self, state: NodeState, event: BlocksRead) -> None:
        """Send blocks on that were read for a node that is behind."""
        for peer in self.peers.values():
            peer.read(state, self.ballot, event.request, event.headers, event.presence)

    def tick(self, state: NodeState) -> bool:
        """Tell all that this node leads; return whether it still should.

        A leader that hears no quorum may be cut off, and one whose own write hangs is no better than a dead one.
        """
        if not self._hears_quorum(state) or self._disk_hangs(state):
            return False
        state.sign_of_progress()
        if self.round % _HEARTBEATS_PER_RECORD == 0:
            state.store_commit_index()
        self.heartbeat(state)
        state.set_timer(Timer.HEARTBEAT, state.config.heartbeat_ns)
        return True

    def heartbeat(self, state: NodeState) -> None:
        """Begin a round of heartbeats; ask nodes again that did not answer; send what was not sent."""
        self.round += 1
        durable_index = state.outline.durable_index
        if durable_index == state.outline.tip.index or durable_index > self._disk_index:
            self._disk_progress += 1
        self._disk_index = durable_index
        for peer in self.peers.values():
            if not peer.opened:
                peer.ask_to_open(state, self.ballot)
                continue
            peer.heartbeat()
            self._send_heartbeat(state, peer, self.round)
            peer.send(state, self.ballot)
            self.hand_over.permit(state, self.ballot, peer)

    def read(self, state: NodeState, read: int) -> None:
        """Confirm a read by a round of heartbeats that is sent after it was asked for."""
        self.reads.add(read)
        self._ask_round(state)

    def _send_heartbeat(self, state: NodeState, peer: Progress, round_: int) -> None:
        message = Heartbeat(
            self.ballot,
            state.membership.generation,
            peer.stream,
            state.commit_index,
            state.outline.tip.index,
            peer.sent_index,
            self._disk_progress,
            round_,
            peer.incarnation,
        )
        state.send(peer.node, message)

    def _ask_round(self, state: NodeState) -> None:
        if not self.intake_opened or not self.reads.waiting or self.reads.round:
            return
        self.heartbeat(state)
        self.reads.begin(self.round, state.commit_index)
        self.reads.confirm(state, self._quorum_answered(state, self.round))

    def _quorum_answered(self, state: NodeState, round_: int) -> bool:
        answered = [peer.node for peer in self.peers.values() if peer.counts and peer.round >= round_]
        return state.membership.is_quorum([state.node, *answered])

    def _advance(self, state: NodeState) -> None:
        if not self.epoch_index:
            return
        outline = state.outline
        durable = {state.node: outline.durable_index}
        for peer in self.peers.values():
            if peer.counts:
                durable[peer.node] = peer.durable_index
        index = state.membership.quorum_index(durable)
        if index <= state.commit_index or index < self.epoch_index:
            return
        own = outline.runs[-1]
        assert own.ballot == self.ballot
        assert own.first_index == self.epoch_index
        state.commit(index)
        if not self.intake_opened:
            self.intake_opened = True
            state.effects += [LeaderChanged(self.ballot), OpenIntake(self.ballot)]
            self._ask_round(state)
        if index == outline.tip.index:
            # Nothing follows that would tell the others. Nor need they answer.
            for peer in self.peers.values():
                if peer.opened:
                    self._send_heartbeat(state, peer, NO_ROUND)

    def _hears_quorum(self, state: NodeState) -> bool:
        heard_since = state.now_ns - state.config.suspicion_ns
        heard = [peer.node for peer in self.peers.values() if peer.heard_ns >= heard_since]
        return state.membership.is_quorum([state.node, *heard])

    def _disk_hangs(self, state: NodeState) -> bool:
        outline = state.outline
        outstanding = outline.durable_index < outline.tip.index
        return outstanding and state.now_ns - self._disk_ns > state.config.suspicion_ns
