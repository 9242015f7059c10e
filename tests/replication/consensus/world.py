"""A small world: the real cores of a few nodes, their disks, and a network in which everything may happen.

Messages stay in the network once they are sent: each may be delivered at any time, never, or again. A disk completes
what it was asked in order, at any time; a crash loses any end of what it has not completed. Time stands still and all
times are 0, so every timer may fire at any time. What must hold is asserted after each step, from what the disks hold
and what was said, not from what the cores believe.
"""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from hashlib import blake2b
from typing import Any, NamedTuple

from replication.consensus.core import Core
from replication.consensus.interface import effects, events, messages
from replication.consensus.interface.config import ConsensusConfig
from replication.consensus.interface.header import Header, Tip
from replication.consensus.interface.membership import Membership
from replication.consensus.interface.messages import Message, Presence
from replication.consensus.interface.promise import Incarnation, Promise
from replication.consensus.outline import Outline
from replication.log.ballot import NO_BALLOT, Ballot
from tests.replication.consensus.frozen import freeze, thaw

TIMELESS = ConsensusConfig(
    suspicion_ns=0, suspicion_jitter_ns=0, retry_ns=0, hand_over_ns=0, window_blocks=2, recent_blocks=4
)


class Violation(AssertionError):
    """What must hold does not."""


class Disk(NamedTuple):
    """What a crash leaves, and what is under way."""

    promise: Promise
    log: tuple[Header, ...]
    promises: tuple[effects.StorePromise, ...] = ()
    """Records that are being stored."""
    changes: tuple[effects.WriteBlocks | effects.Truncate, ...] = ()
    """Of the log, under way."""


class Sent(NamedTuple):
    """A message in the network."""

    kind: str
    sender: int
    to: int
    message: Message


@dataclass(frozen=True, slots=True)
class Budget:
    """How often things may still happen, which keeps the world small."""

    elections: int = 2
    blocks: int = 2
    crashes: int = 1
    wipes: int = 0
    heartbeats: int = 0
    reads: int = 0


class State(NamedTuple):
    """All of a world, as a value."""

    cores: tuple[Hashable, ...]
    disks: tuple[Disk, ...]
    network: frozenset[Sent]
    budget: Budget
    committed: tuple[bytes, ...]
    """Hashes of the blocks that any node said to be committed, from index 1 on."""
    led: frozenset[tuple[Ballot, int]]
    """Ballots that led, and in which life of their node."""
    lives: tuple[int, ...]
    reads: tuple[tuple[int, int], ...]
    """Reads under way, and how much was committed when they were asked for."""


@cache
def block(tip: Tip, ballot: Ballot, what: int) -> Header:
    """Return the only block there is with these properties."""
    content = repr((tip.hash, ballot, what)).encode()
    return Header.after(tip, ballot, blake2b(content, digest_size=6).digest(), what, tip.time_ns + 1, 100)


def apply_change(log: tuple[Header, ...], change: effects.WriteBlocks | effects.Truncate) -> tuple[Header, ...]:
    """Return a log after a change."""
    if isinstance(change, effects.Truncate):
        return log[: change.after_index]
    assert change.headers[0].index == len(log) + 1
    return log + change.headers


def first_promise(membership: Membership, node: int) -> Promise:
    """Return the record with which a new cluster's node begins."""
    return Promise(NO_BALLOT, membership, Incarnation(0, node))


def begin(membership: Membership, budget: Budget, config: ConsensusConfig = TIMELESS) -> State:
    """Return the world of a new cluster."""
    nodes = sorted(membership.nodes)
    assert nodes == list(range(1, len(nodes) + 1))
    disks = tuple(Disk(first_promise(membership, node), ()) for node in nodes)
    cores = tuple(freeze(Core(node, disk.promise, Outline(disk.log), config)) for node, disk in enumerate(disks, 1))
    state = State(cores, disks, frozenset(), budget, (), frozenset(), (0,) * len(nodes), ())
    for node in nodes:
        each = Step(state, node, config)
        each.handle(events.Started(0))
        state = each.end(budget)
    return state


class Step:
    """One node's step: a core that handles events, and the world that it changes."""

    def __init__(self, state: State, node: int, config: ConsensusConfig = TIMELESS) -> None:
        self.state = state
        self.node = node
        self.config = config
        self.disk = state.disks[node - 1]
        self.core: Core = thaw(state.cores[node - 1])
        self.network: set[Sent] = set()
        self.committed = state.committed
        self.led = state.led
        self.reads = state.reads
        self.life = state.lives[node - 1]
        self.commit_index = self.core.commit_index

    def handle(self, event: events.Event) -> None:
        """Let the core handle an event, and carry out what it asks for; what costs no time is done at once."""
        for effect in self.core.handle(event):
            _DO[type(effect)](self, effect)
        core = self.core
        if core.commit_index < self.commit_index:
            raise Violation("the commit index went back")
        self.commit_index = core.commit_index
        if core.leader is not None:
            ballot = core.leader.ballot
            if ballot.node != self.node or any(led == ballot and life != self.life for led, life in self.led):
                raise Violation(f"{ballot} leads twice")
            self.led |= {(ballot, self.life)}

    def end(self, budget: Budget) -> State:
        """Return the world after the step, in which everything that must hold does."""
        place = self.node - 1
        self.core.state.effects = []
        old = self.state
        state = State(
            _replaced(old.cores, place, freeze(self.core)),
            _replaced(old.disks, place, self.disk),
            old.network | self.network if self.network else old.network,
            budget,
            self.committed,
            self.led,
            _replaced(old.lives, place, self.life),
            self.reads,
        )
        check(state)
        return state

    # Effects

    def _send(self, effect: effects.Send) -> None:
        message = effect.message
        if isinstance(message, messages.Refused) and message.reason is messages.Refusal.BALLOT:
            return  # as if it were lost: it only makes others give up sooner
        promise, log = self.disk.promise, self.disk.log
        if isinstance(message, messages.Sealed | messages.Ack | messages.StreamOpened | messages.Fetched):
            if promise.ballot != message.ballot:
                raise Violation(f"{message} rests on a promise that is not stored: {promise.ballot}")
            if isinstance(message, messages.Sealed | messages.Ack) and message.voting and not promise.voting:
                raise Violation(f"{message} votes")
        if isinstance(message, messages.Ack) and message.durable_index:
            synced = log[: message.durable_index]
            if len(synced) < message.durable_index or synced[-1].hash != message.durable_hash:
                raise Violation(f"{message} acknowledges what is not synced")
        if isinstance(message, messages.Sealed | messages.StreamOpened):
            tip = message.extent.tip
            if tip.index and (len(log) < tip.index or log[tip.index - 1].tip != tip):
                raise Violation(f"{message} tells of what is not synced")
        self.network.add(Sent(type(message).__name__, self.node, effect.to, message))

    def _change_log(self, effect: effects.WriteBlocks | effects.Truncate) -> None:
        if isinstance(effect, effects.Truncate) and effect.after_index < len(self.committed):
            log = self.log
            lost = log[effect.after_index : len(self.committed)]
            if any(header.hash == self.committed[header.index - 1] for header in lost):
                raise Violation(f"{effect} cuts a committed block")
        self.disk = self.disk._replace(changes=(*self.disk.changes, effect))

    def _store(self, effect: effects.StorePromise) -> None:
        self.disk = self.disk._replace(promises=(*self.disk.promises, effect))

    @property
    def log(self) -> tuple[Header, ...]:
        """The log with all that is under way."""
        log = self.disk.log
        for change in self.disk.changes:
            log = apply_change(log, change)
        return log

    def _read_blocks(self, effect: effects.ReadBlocks) -> None:
        found = self.log[effect.first - 1 : effect.last]
        have = len(found) == effect.last - effect.first + 1
        presence = Presence.HAVE if have else Presence.NEVER_HAD
        self.handle(events.BlocksRead(effect.request, found, presence, 0))

    def _begin_epoch(self, effect: effects.BeginEpoch) -> None:
        self.handle(events.Proposed((block(effect.tip, effect.ballot, 0),), 0))

    def _committed(self, effect: effects.Committed) -> None:
        log = self.log
        if len(log) < effect.commit_index:
            raise Violation(f"{effect} is more than the log has")
        for header in log[: effect.commit_index]:
            if header.index > len(self.committed):
                self.committed += (header.hash,)
            elif self.committed[header.index - 1] != header.hash:
                raise Violation(f"two blocks were committed at {header.index}")

    def _confirm_read(self, effect: effects.ConfirmRead) -> None:
        (asked,) = [committed for read, committed in self.reads if read == effect.read]
        if effect.commit_index < asked:
            raise Violation("a read was confirmed without what was committed before it was asked for")
        self.reads = tuple(each for each in self.reads if each[0] != effect.read)

    def _ignore(self, _: effects.Effect) -> None:
        pass


_DO: dict[type, Callable[[Step, Any], None]] = {
    effects.Send: Step._send,
    effects.WriteBlocks: Step._change_log,
    effects.Truncate: Step._change_log,
    effects.StorePromise: Step._store,
    effects.ReadBlocks: Step._read_blocks,
    effects.SetTimer: Step._ignore,
    effects.CasEpoch: Step._ignore,
    effects.BeginEpoch: Step._begin_epoch,
    effects.OpenIntake: Step._ignore,
    effects.CloseIntake: Step._ignore,
    effects.SteppedDown: Step._ignore,
    effects.Committed: Step._committed,
    effects.LeaderChanged: Step._ignore,
    effects.ConfirmRead: Step._confirm_read,
    effects.RefuseRead: Step._ignore,
    effects.HandOverEnded: Step._ignore,
    effects.Alarm: Step._ignore,
}


def check(state: State) -> None:
    """Assert what must hold of the world as a whole."""
    blocks: dict[tuple[int, Ballot], bytes] = {}
    for disk in state.disks:
        for header in disk.log:
            if blocks.setdefault((header.index, header.ballot), header.hash) != header.hash:
                raise Violation(f"two blocks have index {header.index} and {header.ballot}")
        if disk.promise.commit_index > len(disk.log):
            raise Violation("more is said to be committed than is durable")
    voting = [disk for disk in state.disks if disk.promise.voting]
    membership = state.disks[0].promise.membership
    for index, hash_ in enumerate(state.committed, 1):
        lacking = [
            node
            for node, disk in enumerate(state.disks, 1)
            if disk in voting and (len(disk.log) < index or disk.log[index - 1].hash != hash_)
        ]
        if membership.is_quorum(lacking):
            raise Violation(f"a quorum may forget the committed block {index}: nodes {lacking}")


class Action(NamedTuple):
    """Something that may happen to a node."""

    name: str
    node: int
    what: Any = None


def actions(state: State) -> Iterator[Action]:
    """Tell what may happen next."""
    budget = state.budget
    for sent in state.network:
        yield Action("deliver", sent.to, sent)
    for place, disk in enumerate(state.disks):
        node = place + 1
        if disk.promises:
            yield Action("store", node)
        if disk.changes:
            yield Action("sync", node)
        if budget.elections:
            yield Action("elect", node)
        if budget.crashes:
            for kept in range(len(disk.changes) + 1):
                for stored in range(len(disk.promises) + 1):
                    yield Action("crash", node, (kept, stored))
        if budget.wipes:
            yield Action("wipe", node)
        leads = any(ballot.node == node and life == state.lives[place] for ballot, life in state.led)
        if leads:
            if budget.blocks:
                yield Action("propose", node)
            if budget.heartbeats:
                yield Action("heartbeat", node)
            if budget.reads:
                yield Action("read", node)


def step(state: State, action: Action, config: ConsensusConfig = TIMELESS) -> State:
    """Return the world after an action.

    Raises:
        Violation: something does not hold that must.
    """
    return _ACTIONS[action.name](state, action, config)


def _deliver(state: State, action: Action, config: ConsensusConfig) -> State:
    each = Step(state, action.node, config)
    each.handle(events.Received(action.what.sender, action.what.message, 0))
    return each.end(state.budget)


def _store(state: State, action: Action, config: ConsensusConfig) -> State:
    each = Step(state, action.node, config)
    stored, *others = each.disk.promises
    each.disk = each.disk._replace(promise=stored.promise, promises=tuple(others))
    each.handle(events.PromiseStored(stored.number, 0))
    return each.end(state.budget)


def _sync(state: State, action: Action, config: ConsensusConfig) -> State:
    """One change of the log completes."""
    each = Step(state, action.node, config)
    change, *others = each.disk.changes
    each.disk = each.disk._replace(log=apply_change(each.disk.log, change), changes=tuple(others))
    if isinstance(change, effects.WriteBlocks):
        last = change.headers[-1]
        each.handle(events.BlocksDurable(change.cut, last.index, last.hash, 0))
    return each.end(state.budget)


def _elect(state: State, action: Action, config: ConsensusConfig) -> State:
    """The coordinator gives a node the epoch that it would ask for."""
    each = Step(state, action.node, config)
    each.core.suspicion.want_epoch(each.core.state)
    epoch = each.core.suspicion.wanted_epoch
    each.core.state.effects = []
    each.handle(events.EpochDecided(epoch, action.node, 0))
    return each.end(replace(state.budget, elections=state.budget.elections - 1))


def _propose(state: State, action: Action, config: ConsensusConfig) -> State:
    each = Step(state, action.node, config)
    leader = each.core.leader
    if leader is None or not leader.epoch_index:
        return state
    what = state.budget.blocks
    each.handle(events.Proposed((block(each.core.state.outline.tip, leader.ballot, what),), 0))
    return each.end(replace(state.budget, blocks=state.budget.blocks - 1))


def _heartbeat(state: State, action: Action, config: ConsensusConfig) -> State:
    each = Step(state, action.node, config)
    each.handle(events.TimerFired(events.Timer.HEARTBEAT, 0))
    return each.end(replace(state.budget, heartbeats=state.budget.heartbeats - 1))


def _read(state: State, action: Action, config: ConsensusConfig) -> State:
    each = Step(state, action.node, config)
    read = state.budget.reads
    each.reads += ((read, len(state.committed)),)
    each.handle(events.ReadRequested(read, 0))
    return each.end(replace(state.budget, reads=read - 1))


def _crash(state: State, action: Action, config: ConsensusConfig) -> State:
    """A node loses what it had not completed, but for some, and starts anew."""
    kept, stored = action.what
    disk = state.disks[action.node - 1]
    log, promise = disk.log, disk.promise
    for change in disk.changes[:kept]:
        log = apply_change(log, change)
    if stored:
        promise = disk.promises[stored - 1].promise
    return _restarted(
        state, action.node, Disk(promise, log), replace(state.budget, crashes=state.budget.crashes - 1), config
    )


def _wipe(state: State, action: Action, config: ConsensusConfig) -> State:
    """A node loses its disk, and starts with an empty one."""
    node = action.node
    membership = state.disks[node - 1].promise.membership
    log_id = 100 * (state.budget.wipes + 1) + node
    promise = Promise(NO_BALLOT, membership, Incarnation(1, log_id), voting=False)
    return _restarted(state, node, Disk(promise, ()), replace(state.budget, wipes=state.budget.wipes - 1), config)


def _restarted(state: State, node: int, disk: Disk, budget: Budget, config: ConsensusConfig) -> State:
    place = node - 1
    state = state._replace(
        disks=_replaced(state.disks, place, disk),
        lives=_replaced(state.lives, place, state.lives[place] + 1),
    )
    core = Core(node, disk.promise, Outline(disk.log), config)
    each = Step(state._replace(cores=_replaced(state.cores, place, freeze(core))), node, config)
    each.handle(events.Started(0))
    return each.end(budget)


_ACTIONS: dict[str, Callable[[State, Action, ConsensusConfig], State]] = {
    "deliver": _deliver,
    "store": _store,
    "sync": _sync,
    "elect": _elect,
    "propose": _propose,
    "heartbeat": _heartbeat,
    "read": _read,
    "crash": _crash,
    "wipe": _wipe,
}


def _replaced(items: tuple[Any, ...], place: int, item: Any) -> tuple[Any, ...]:
    return (*items[:place], item, *items[place + 1 :])
