"""Core: the replication protocol of one node, pure and deterministic.

Events go in, effects come out; there is no clock, socket, disk, thread or randomness in it. It is Multi-Paxos in the
shape of Raft's log: a ballot is sealed on a quorum (`candidate`), its leader appends and commits (`leader`), others
follow (`follower`). Who tries next is decided apart from that (`suspicion`), and so is how a node that forgot comes
back (`rejoin`). ``docs/replication.md`` says why it is right.
"""

from collections.abc import Callable
from typing import Any, Final

from replication.consensus.candidate import Candidate
from replication.consensus.follower import Follower
from replication.consensus.interface import events, messages
from replication.consensus.interface.config import ConsensusConfig
from replication.consensus.interface.effects import (
    Committed,
    Concern,
    Effect,
    HandOverEnded,
    LeaderChanged,
    ReadBlocks,
    RefuseRead,
)
from replication.consensus.interface.events import Event, Timer
from replication.consensus.interface.membership import Membership
from replication.consensus.interface.messages import Message, Presence, Refusal
from replication.consensus.interface.promise import Incarnation, Promise
from replication.consensus.leader import Leader
from replication.consensus.node_state import NodeState
from replication.consensus.outline import Outline
from replication.consensus.rejoin import Rejoining
from replication.consensus.suspicion import Suspicion
from replication.log.ballot import NO_BALLOT, Ballot

DEFAULTS: Final = ConsensusConfig()


class Core:
    """One node's part. `handle` takes one event at a time, from one thread; attributes are for reading."""

    __slots__ = (
        "_fetches",
        "_parked",
        "candidate",
        "doubtful_index",
        "failed",
        "follower",
        "leader",
        "rejoining",
        "state",
        "suspicion",
    )

    def __init__(
        self,
        node: int,
        stored: Promise,
        outline: Outline,
        config: ConsensusConfig = DEFAULTS,
        doubtful_index: int = 0,
    ) -> None:
        """Begin with what is on the disk.

        ``stored`` is the last record; a disk that has none gets one with ``voting=False`` and an incarnation above 0,
        unless the cluster is new. ``outline`` has the log up to the first block that cannot be read. ``doubtful_index``
        is the last block that this node may have acknowledged, where that is more.
        """
        assert node >= 1
        self.state = NodeState(node, stored, outline, config)
        self.suspicion = Suspicion()
        self.follower: Follower | None = None
        self.candidate: Candidate | None = None
        self.leader: Leader | None = None
        self.rejoining: Rejoining | None = None
        self.doubtful_index = doubtful_index
        self.failed = False
        self._parked: dict[tuple[int, type], Message] = {}
        """Messages that bind this node and are answered once the promise is stored; of each kind the sender's last."""
        self._fetches: dict[int, tuple[int, messages.Fetch]] = {}

    def handle(self, event: Event) -> list[Effect]:
        """Take an event; return what is to be done, in order."""
        if self.failed:
            return []
        state = self.state
        state.effects = []
        state.now_ns = event.now_ns
        _ON_EVENT[type(event)](self, event)
        return state.effects

    @property
    def node(self) -> int:
        """This node's number."""
        return self.state.node

    @property
    def commit_index(self) -> int:
        """All blocks up to it are committed."""
        return self.state.commit_index

    @property
    def leader_ballot(self) -> Ballot:
        """Of the leader, this node or the one it follows; `NO_BALLOT` where none is known."""
        if self.leader is not None:
            return self.leader.ballot
        return NO_BALLOT if self.follower is None else self.follower.ballot

    # Events of the host

    def _started(self, _: events.Started) -> None:
        state = self.state
        state.sign_of_progress()
        if state.commit_index:
            state.effects.append(Committed(state.commit_index))
        if self.doubtful_index <= state.outline.tip.index:
            self.doubtful_index = 0
        if self.doubtful_index or not state.voting:
            # It will deny what it may have acknowledged: to others that must not look like the same disk.
            own = state.promise.incarnation
            state.bind(voting=False, incarnation=Incarnation(own.number + 1, own.log_id))
        if not state.voting and state.node in state.membership.electors:
            self.rejoining = Rejoining()
            self.rejoining.ask(state)
        if state.membership.electors == {state.node}:
            self.suspicion.ask(state)
        state.set_timer(Timer.SUSPICION, state.config.suspicion_ns, state.config.suspicion_jitter_ns)

    def _timer_fired(self, event: events.TimerFired) -> None:
        _ON_TIMER[event.timer](self)

    def _suspicion_timer(self) -> None:
        state = self.state
        if self.leader is not None:
            state.set_timer(Timer.SUSPICION, state.config.suspicion_ns, state.config.suspicion_jitter_ns)
            return
        state.store_commit_index()
        if self.candidate is not None and state.suspects:
            self.candidate = None
        if self.candidate is None:
            self.suspicion.tick(state)
        else:
            state.set_timer(Timer.SUSPICION, state.config.suspicion_ns, state.config.suspicion_jitter_ns)

    def _heartbeat_timer(self) -> None:
        if self.leader is not None and not self.leader.tick(self.state):
            self._step_down()

    def _retry_timer(self) -> None:
        if self.rejoining is not None:
            self.rejoining.ask(self.state)
        elif self.candidate is not None and self.state.bound:
            self.candidate.ask(self.state)

    def _hand_over_timer(self) -> None:
        if self.leader is not None:
            self.leader.hand_over.give_up(self.state, self.leader.ballot)

    def _proposed(self, event: events.Proposed) -> None:
        if self.leader is not None:
            self.leader.propose(self.state, event.headers)

    def _blocks_durable(self, event: events.BlocksDurable) -> None:
        if not self.state.durable(event):
            return
        if self.leader is not None:
            self.leader.durable(self.state)
        elif self.follower is not None:
            self.follower.acknowledge(self.state)
            self.follower.commit(self.state)
            self._end_rejoining()

    def _promise_stored(self, event: events.PromiseStored) -> None:
        state = self.state
        state.stored(event.number)
        if not state.bound:
            return
        if self.doubtful_index:
            # Not before it is stored that this node may have forgotten: after a crash the log itself would not tell.
            state.truncate_unreadable()
            self.doubtful_index = 0
        parked, self._parked = self._parked, {}
        for (sender, _), message in parked.items():
            _ON_MESSAGE[type(message)](self, sender, message)
        candidate = self.candidate
        if candidate is not None and not candidate.begun and state.promised == candidate.ballot and state.bound:
            self._lead_if(candidate.begin(state))
        if self.rejoining is not None:
            self.rejoining.ask(state)

    def _blocks_read(self, event: events.BlocksRead) -> None:
        fetch = self._fetches.pop(event.request, None)
        if fetch is None:
            if self.leader is not None:
                self.leader.blocks_read(self.state, event)
            return
        sender, message = fetch
        if message.ballot == self.state.promised:
            self._give(sender, message, event)

    def _epoch_decided(self, event: events.EpochDecided) -> None:
        ballot = self.suspicion.decided(self.state, event)
        if ballot is not None and self.leader is None:
            self._promise(ballot)
            self.state.sign_of_progress()
            self.candidate = Candidate(ballot)

    def _read_requested(self, event: events.ReadRequested) -> None:
        if self.leader is None:
            self.state.effects.append(RefuseRead(event.read))
        else:
            self.leader.read(self.state, event.read)

    def _hand_over_requested(self, event: events.HandOverRequested) -> None:
        leader = self.leader
        possible = (
            leader is not None
            and leader.intake_opened
            and not leader.hand_over.to
            and event.to in self.state.other_electors
        )
        if leader is not None and possible:
            leader.hand_over.begin(self.state, leader.ballot, event.to)
            leader.heartbeat(self.state)
        else:
            self.state.effects.append(HandOverEnded(event.to, done=False))

    def _membership_offered(self, event: events.MembershipOffered) -> None:
        offered = event.membership
        if offered.generation < self.state.membership.generation:
            self.state.alarm(Concern.MEMBERSHIP_OLD, self.node, offered.generation)
        elif offered != self.state.membership:
            self._adopt_membership(offered)

    def _storage_failed(self, _: events.StorageFailed) -> None:
        self._step_down()
        self.failed = True

    # Messages

    def _received(self, event: events.Received) -> None:
        state = self.state
        sender, message = event.sender, event.message
        membership = state.promise.membership
        if sender not in membership.nodes:
            return
        state.see_ballot(message.ballot)
        if message.generation == membership.generation or type(message) is messages.Refused:
            _ON_MESSAGE[type(message)](self, sender, message)
        else:
            self._tell_membership(sender, message.ballot)

    def _suspect(self, sender: int, message: messages.Suspect) -> None:
        self.suspicion.asked(self.state, sender, message, leads=self.leader is not None)

    def _suspected(self, sender: int, message: messages.Suspected) -> None:
        if self.leader is None and self.candidate is None:
            self.suspicion.answered(self.state, sender, message)

    def _seal(self, sender: int, message: messages.Seal) -> None:
        if not self._binds(sender, message):
            return
        state = self.state
        state.sign_of_progress()
        self.suspicion.calm()
        promise = state.promise
        answer = messages.Sealed(
            message.ballot,
            promise.membership.generation,
            promise.incarnation,
            promise.incarnations,
            state.voting,
            state.extent,
        )
        state.send(sender, answer)

    def _sealed(self, sender: int, message: messages.Sealed) -> None:
        if self.candidate is not None:
            self._lead_if(self.candidate.answered(self.state, sender, message))

    def _fetch(self, sender: int, message: messages.Fetch) -> None:
        if not self._binds(sender, message):
            return
        state = self.state
        state.sign_of_progress()
        state.request += 1
        if len(self._fetches) == _FETCHES_MAX:
            self._fetches.pop(next(iter(self._fetches)))
        self._fetches[state.request] = sender, message
        state.effects.append(ReadBlocks(state.request, message.first, message.last, state.config.message_bytes))

    def _give(self, sender: int, message: messages.Fetch, event: events.BlocksRead) -> None:
        presence = event.presence
        if presence is Presence.NEVER_HAD and not self.state.voting:
            presence = Presence.UNKNOWN  # who forgot cannot deny
        generation = self.state.membership.generation
        answer = messages.Fetched(message.ballot, generation, message.first, event.headers, presence)
        self.state.send(sender, answer)

    def _fetched(self, sender: int, message: messages.Fetched) -> None:
        if self.candidate is not None:
            self._lead_if(self.candidate.fetched(self.state, sender, message))

    def _open_stream(self, sender: int, message: messages.OpenStream) -> None:
        if not self._binds(sender, message):
            return
        state = self.state
        follower = self.follower
        if follower is None or message.stream > follower.stream:
            self.suspicion.calm()
            if follower is None:
                state.effects.append(LeaderChanged(message.ballot))
            self.follower = follower = Follower(state, message.ballot, message.stream)
        if message.stream == follower.stream:
            follower.open(state, message)

    def _append(self, _: int, message: messages.Append) -> None:
        follower = self._following(message)
        if follower is not None:
            follower.append(self.state, message)
            self._end_rejoining()

    def _heartbeat(self, _: int, message: messages.Heartbeat) -> None:
        follower = self._following(message)
        if follower is not None:
            if not self.suspicion.permitted:
                self.suspicion.calm()
            follower.heartbeat(self.state, message)
            if self.rejoining is not None:
                self.rejoining.heard(self.state, message)
                self._end_rejoining()

    def _stream_opened(self, sender: int, message: messages.StreamOpened) -> None:
        if self.leader is not None and message.ballot == self.leader.ballot:
            self.leader.stream_opened(self.state, sender, message)

    def _ack(self, sender: int, message: messages.Ack) -> None:
        if self.leader is not None and message.ballot == self.leader.ballot:
            self.leader.acknowledged(self.state, sender, message)

    def _refused(self, sender: int, message: messages.Refused) -> None:
        if message.membership is not None and message.generation > self.state.membership.generation:
            self._adopt_membership(message.membership)
        elif message.generation < self.state.membership.generation:
            self._tell_membership(sender, message.ballot)
        elif message.reason is Refusal.BALLOT:
            if self.leader is not None and message.ballot > self.leader.ballot == message.refused:
                self._step_down()
            elif self.candidate is not None and message.ballot > self.candidate.ballot == message.refused:
                self.candidate = None
        elif self.leader is not None and message.refused == self.leader.ballot:
            self.leader.refused(self.state, sender, message)

    def _take_over(self, sender: int, message: messages.TakeOver) -> None:
        state = self.state
        follower = self.follower
        following = follower is not None and follower.ballot == message.ballot and message.ballot.node == sender
        if following and state.elector and state.config.may_lead and not self.suspicion.permitted:
            self.suspicion.permitted = True
            self.suspicion.want_epoch(state)

    def _rejoin(self, sender: int, message: messages.Rejoin) -> None:
        state = self.state
        state.learn_incarnation(sender, message.incarnation)
        if not state.bound:
            self._park(sender, message)
            return
        promise = state.promise
        known = promise.incarnation_of(sender)
        state.send(sender, messages.Rejoined(promise.ballot, promise.membership.generation, known, state.voting))

    def _rejoined(self, sender: int, message: messages.Rejoined) -> None:
        if self.rejoining is None:
            return
        incarnation = self.state.promise.incarnation
        ballot = self.rejoining.answered(self.state, sender, message)
        if ballot is not None:
            self._promise(ballot)
        elif self.state.promise.incarnation != incarnation:
            self.follower = None  # its leader knows it by the earlier one

    # What several of them do

    def _binds(self, sender: int, message: messages.Seal | messages.Fetch | messages.OpenStream) -> bool:
        """Promise a message's ballot; tell whether the promise is stored, else the message waits until it is."""
        state = self.state
        assert message.ballot.node == sender
        if message.ballot < state.promised:
            self._refuse_ballot(sender, message.ballot)
            return False
        if message.ballot > state.promised:
            self._promise(message.ballot)
        if not state.bound:
            self._park(sender, message)
            return False
        return True

    def _promise(self, ballot: Ballot) -> None:
        """Refuse lower ballots from now on."""
        self.state.bind(ballot=ballot)
        self._step_down()
        self._follow_none()

    def _follow_none(self) -> None:
        self.candidate = None
        if self.follower is not None:
            self.follower = None
            self.state.effects.append(LeaderChanged(NO_BALLOT))

    def _step_down(self) -> None:
        """Lead no more; the promise is kept."""
        leader, self.leader = self.leader, None
        if leader is not None:
            leader.step_down(self.state)
            self.state.sign_of_progress()
            self.state.effects.append(LeaderChanged(NO_BALLOT))

    def _lead_if(self, won: bool) -> None:
        if won:
            self.candidate = None
            self.leader = Leader(self.state)
            self.leader.begin(self.state)

    def _following(self, message: messages.Append | messages.Heartbeat) -> Follower | None:
        """Return the stream that a message belongs to; refuse the message where it belongs to none that is known."""
        state = self.state
        follower = self.follower
        if message.ballot < state.promised:
            self._refuse_ballot(message.ballot.node, message.ballot)
            return None
        if follower is None or message.ballot > follower.ballot or message.stream > follower.stream:
            refusal = messages.Refused(
                state.promised, state.membership.generation, message.ballot, Refusal.NO_STREAM, message.stream
            )
            state.send(message.ballot.node, refusal)
            return None
        return follower if message.stream == follower.stream else None

    def _end_rejoining(self) -> None:
        if self.rejoining is None or self.follower is None:
            return
        if self.rejoining.ended(self.state, self.follower.matched_index):
            self.rejoining = None

    def _refuse_ballot(self, to: int, ballot: Ballot) -> None:
        state = self.state
        generation = state.membership.generation
        state.send(to, messages.Refused(state.promised, generation, ballot, Refusal.BALLOT))

    def _tell_membership(self, to: int, ballot: Ballot) -> None:
        state = self.state
        membership = state.membership
        refusal = messages.Refused(
            state.promised, membership.generation, ballot, Refusal.GENERATION, membership=membership
        )
        state.send(to, refusal)

    def _adopt_membership(self, membership: Membership) -> None:
        """Take a newer membership, if decisions of both are sure to meet. Nobody leads across the change."""
        state = self.state
        if membership.generation != state.membership.generation + 1 or not state.membership.shares_quorums_with(
            membership
        ):
            state.alarm(Concern.MEMBERSHIP_UNSAFE, self.node, membership.generation)
            return
        state.bind(membership=membership)
        self._step_down()
        self._follow_none()

    def _park(self, sender: int, message: Message) -> None:
        self._parked[sender, type(message)] = message


_FETCHES_MAX: Final = 16
"""Recovery reads under way; more are those of candidates that asked again."""

_ON_EVENT: Final[dict[type, Callable[[Core, Any], None]]] = {
    events.Started: Core._started,
    events.Received: Core._received,
    events.TimerFired: Core._timer_fired,
    events.Proposed: Core._proposed,
    events.BlocksDurable: Core._blocks_durable,
    events.PromiseStored: Core._promise_stored,
    events.BlocksRead: Core._blocks_read,
    events.EpochDecided: Core._epoch_decided,
    events.ReadRequested: Core._read_requested,
    events.HandOverRequested: Core._hand_over_requested,
    events.MembershipOffered: Core._membership_offered,
    events.StorageFailed: Core._storage_failed,
}

_ON_TIMER: Final[dict[Timer, Callable[[Core], None]]] = {
    Timer.SUSPICION: Core._suspicion_timer,
    Timer.HEARTBEAT: Core._heartbeat_timer,
    Timer.RETRY: Core._retry_timer,
    Timer.HAND_OVER: Core._hand_over_timer,
}

_ON_MESSAGE: Final[dict[type, Callable[[Core, int, Any], None]]] = {
    messages.Suspect: Core._suspect,
    messages.Suspected: Core._suspected,
    messages.Seal: Core._seal,
    messages.Sealed: Core._sealed,
    messages.Fetch: Core._fetch,
    messages.Fetched: Core._fetched,
    messages.OpenStream: Core._open_stream,
    messages.StreamOpened: Core._stream_opened,
    messages.Append: Core._append,
    messages.Heartbeat: Core._heartbeat,
    messages.Ack: Core._ack,
    messages.Refused: Core._refused,
    messages.TakeOver: Core._take_over,
    messages.Rejoin: Core._rejoin,
    messages.Rejoined: Core._rejoined,
}
