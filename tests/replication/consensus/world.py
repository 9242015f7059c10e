"""A small world: the real cores of a few nodes, their disks, and a network in which everything may happen.

Messages stay in the network once they are sent: each may be delivered at any time, never, or again. A disk completes
what it was asked in order, at any time; a crash loses any end of what it has not completed. Time stands still and all
times are 0, so every timer may fire at any time. What must hold is checked after each step, from what the disks hold
and what was said, not from what the cores believe.

What one node does depends on its own state alone, so it is computed once for each state of a node and each thing that
happens to it. The world's state is made of the numbers of its nodes' states and of the messages that were sent.
"""

from collections.abc import Callable, Hashable, Iterator
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


class Budget(NamedTuple):
    """How often things may still happen, which keeps the world small."""

    elections: int = 2
    blocks: int = 2
    crashes: int = 1
    wipes: int = 0
    heartbeats: int = 0
    reads: int = 0


class State(NamedTuple):
    """All of a world, as a value."""

    nodes: tuple[int, ...]
    """Numbers of the nodes' states, node 1 first."""
    network: int
    """A bit for each message that was sent."""
    budget: Budget
    committed: tuple[bytes, ...]
    """Hashes of the blocks that any node said to be committed, from index 1 on."""
    led: tuple[tuple[Ballot, int], ...]
    """Ballots that led, and in which life of their node."""
    lives: tuple[int, ...]
    reads: tuple[tuple[int, int], ...]
    """Reads under way, and how much was committed when they were asked for."""


class Action(NamedTuple):
    """Something that may happen to a node."""

    name: str
    node: int
    what: Any = None


class Outcome(NamedTuple):
    """What came of something that happened to a node."""

    after: int
    """Number of the node's state."""
    sent: int
    """A bit for each message."""
    committed: tuple[bytes, ...]
    """Hashes of the blocks that it said to be committed, if it said so."""
    cut: tuple[Header, ...]
    """Blocks that it cut."""
    confirmed: tuple[tuple[int, int], ...]
    """Reads that it confirmed, and at which index."""
    leads: Ballot | None
    violation: str = ""


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


class NodeStep:
    """What happens in one node: its core handles an event, and what that asks for is begun."""

    def __init__(self, node: int, core: Core, disk: Disk) -> None:
        self.node = node
        self.core = core
        self.disk = disk
        self.sent: list[Sent] = []
        self.committed: tuple[bytes, ...] = ()
        self.cut: tuple[Header, ...] = ()
        self.confirmed: list[tuple[int, int]] = []
        self.commit_index = core.commit_index

    def handle(self, event: events.Event) -> None:
        """Let the core handle an event, and carry out what it asks for; what costs no time is done at once."""
        for effect in self.core.handle(event):
            do = _DO.get(type(effect))
            if do is not None:
                do(self, effect)
        if self.core.commit_index < self.commit_index:
            raise Violation("the commit index went back")
        self.commit_index = self.core.commit_index

    def store(self) -> None:
        """One record is stored."""
        first, *others = self.disk.promises
        self.disk = self.disk._replace(promise=first.promise, promises=tuple(others))
        self.handle(events.PromiseStored(first.number, 0))

    def sync(self) -> None:
        """One change of the log is done."""
        first, *others = self.disk.changes
        self.disk = self.disk._replace(log=apply_change(self.disk.log, first), changes=tuple(others))
        if isinstance(first, effects.WriteBlocks):
            last = first.headers[-1]
            self.handle(events.BlocksDurable(first.cut, last.index, last.hash, 0))

    @property
    def log(self) -> tuple[Header, ...]:
        """The log with all that is under way."""
        log = self.disk.log
        for change in self.disk.changes:
            log = apply_change(log, change)
        return log

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
        self.sent.append(Sent(type(message).__name__, self.node, effect.to, message))

    def _write(self, effect: effects.WriteBlocks) -> None:
        self.disk = self.disk._replace(changes=(*self.disk.changes, effect))

    def _truncate(self, effect: effects.Truncate) -> None:
        self.cut += self.log[effect.after_index :]
        self.disk = self.disk._replace(changes=(*self.disk.changes, effect))

    def _store(self, effect: effects.StorePromise) -> None:
        self.disk = self.disk._replace(promises=(*self.disk.promises, effect))

    def _read_blocks(self, effect: effects.ReadBlocks) -> None:
        found = self.log[effect.first - 1 : effect.last]
        have = len(found) == effect.last - effect.first + 1
        presence = Presence.HAVE if have else Presence.NEVER_HAD
        self.handle(events.BlocksRead(effect.request, found, presence, 0))

    def _begin_epoch(self, effect: effects.BeginEpoch) -> None:
        self.handle(events.Proposed((block(effect.tip, effect.ballot, 0),), 0))

    def _commit(self, effect: effects.Committed) -> None:
        log = self.log
        if len(log) < effect.commit_index:
            raise Violation(f"{effect} is more than the log has")
        self.committed = tuple(header.hash for header in log[: effect.commit_index])

    def _confirm_read(self, effect: effects.ConfirmRead) -> None:
        self.confirmed.append((effect.read, effect.commit_index))


_DO: dict[type, Callable[[NodeStep, Any], None]] = {
    effects.Send: NodeStep._send,
    effects.WriteBlocks: NodeStep._write,
    effects.Truncate: NodeStep._truncate,
    effects.StorePromise: NodeStep._store,
    effects.ReadBlocks: NodeStep._read_blocks,
    effects.BeginEpoch: NodeStep._begin_epoch,
    effects.Committed: NodeStep._commit,
    effects.ConfirmRead: NodeStep._confirm_read,
}


class World:
    """The rules of a small world, and what was computed of it so far."""

    def __init__(
        self,
        membership: Membership,
        config: ConsensusConfig = TIMELESS,
        *,
        disks_take_time: bool = True,
        lost: frozenset[str] = frozenset(),
    ) -> None:
        """Where disks take no time, what they are asked is done at once, and crashes lose nothing but memory.

        Messages of the kinds ``lost`` never arrive, which makes the world smaller.
        """
        self.membership = membership
        self.config = config
        self.disks_take_time = disks_take_time
        self.lost = lost
        self.node_numbers: list[int] = sorted(membership.nodes)
        assert self.node_numbers == list(range(1, len(self.node_numbers) + 1))
        self._states: list[tuple[Hashable, Disk]] = []
        self._state_ids: dict[tuple[Hashable, Disk], int] = {}
        self._messages: list[Sent] = []
        self._message_ids: dict[Sent, int] = {}
        self._outcomes: dict[tuple[int, int, Hashable], Outcome] = {}
        self._checked: dict[tuple[tuple[int, ...], tuple[bytes, ...]], str] = {}

    def begin(self, budget: Budget) -> State:
        """Return the world of a new cluster."""
        count = len(self.node_numbers)
        state = State((0,) * count, 0, budget, (), (), (0,) * count, ())
        for node in self.node_numbers:
            disk = Disk(Promise(NO_BALLOT, self.membership, Incarnation(0, node)), ())
            state = self._apply(state, node, self._restarted(node, disk), budget)
        return state

    def disk(self, state: State, node: int) -> Disk:
        """Return a node's disk."""
        return self._states[state.nodes[node - 1]][1]

    def core(self, state: State, node: int) -> Core:
        """Return a copy of a node's core."""
        core: Core = thaw(self._states[state.nodes[node - 1]][0])
        return core

    def sent(self, state: State) -> Iterator[tuple[int, Sent]]:
        """Return the messages in the network, with their numbers."""
        network = state.network
        while network:
            lowest = network & -network
            number = lowest.bit_length() - 1
            yield number, self._messages[number]
            network ^= lowest

    def actions(self, state: State) -> Iterator[Action]:
        """Tell what may happen next, all but what would change nothing."""
        budget = state.budget
        for number, sent in self.sent(state):
            before = state.nodes[sent.to - 1]
            outcome = self._outcomes.get((before, sent.to, number))
            if outcome is None or outcome.after != before or outcome.sent & ~state.network or outcome.violation:
                yield Action("deliver", sent.to, number)
        for node in self.node_numbers:
            disk = self.disk(state, node)
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
            if any(ballot.node == node and life == state.lives[node - 1] for ballot, life in state.led):
                if budget.blocks:
                    yield Action("propose", node, budget.blocks)
                if budget.heartbeats:
                    yield Action("heartbeat", node)
                if budget.reads:
                    yield Action("read", node, budget.reads)

    def step(self, state: State, action: Action) -> State:
        """Return the world after an action.

        Raises:
            Violation: something does not hold that must.
        """
        name, node, what = action
        key = (state.nodes[node - 1], node, what if name == "deliver" else (name, what, name == "wipe" and state.lives))
        outcome = self._outcomes.get(key)
        if outcome is None:
            outcome = self._outcomes[key] = self._outcome(state, action)
        budget = state.budget
        spent = _SPENDS.get(name)
        if spent is not None:
            budget = budget._replace(**{spent: getattr(budget, spent) - 1})
            if name in ("crash", "wipe"):
                state = state._replace(lives=_replaced(state.lives, node - 1, state.lives[node - 1] + 1))
            elif name == "read":
                state = state._replace(reads=(*state.reads, (what, len(state.committed))))
        return self._apply(state, node, outcome, budget)

    def _outcome(self, state: State, action: Action) -> Outcome:
        name, node, what = action
        disk = self.disk(state, node)
        if name == "crash":
            kept, stored = what
            log = disk.log
            for change in disk.changes[:kept]:
                log = apply_change(log, change)
            promise = disk.promises[stored - 1].promise if stored else disk.promise
            return self._restarted(node, Disk(promise, log))
        if name == "wipe":
            incarnation = Incarnation(1, 100 * state.lives[node - 1] + node)
            return self._restarted(node, Disk(Promise(NO_BALLOT, self.membership, incarnation, voting=False), ()))
        each = NodeStep(node, self.core(state, node), disk)
        return self._finished(each, lambda: self._happen(each, name, what))

    def _happen(self, each: NodeStep, name: str, what: Any) -> None:
        core = each.core
        if name == "deliver":
            sent = self._messages[what]
            each.handle(events.Received(sent.sender, sent.message, 0))
        elif name == "store":
            each.store()
        elif name == "sync":
            each.sync()
        elif name == "elect":  # the coordinator gives the node the epoch that it would ask for
            core.suspicion.want_epoch(core.state)
            each.handle(events.EpochDecided(core.suspicion.wanted_epoch, each.node, 0))
        elif name == "propose":
            if core.leader is not None and core.leader.epoch_index:
                each.handle(events.Proposed((block(core.state.outline.tip, core.leader.ballot, what),), 0))
        elif name == "heartbeat":
            each.handle(events.TimerFired(events.Timer.HEARTBEAT, 0))
        else:
            assert name == "read"
            each.handle(events.ReadRequested(what, 0))

    def _restarted(self, node: int, disk: Disk) -> Outcome:
        each = NodeStep(node, Core(node, disk.promise, Outline(disk.log), self.config), disk)
        return self._finished(each, lambda: each.handle(events.Started(0)))

    def _finished(self, each: NodeStep, happen: Callable[[], None]) -> Outcome:
        violation = ""
        try:
            happen()
            while not self.disks_take_time and (each.disk.promises or each.disk.changes):
                if each.disk.promises:
                    each.store()
                else:
                    each.sync()
        except AssertionError as failure:
            violation = f"{type(failure).__name__}: {failure}"
        leader = each.core.leader
        leads = None if leader is None else leader.ballot
        sent = 0
        for message in each.sent:
            if message.kind in self.lost:
                continue
            sent |= 1 << self._message_id(message)
        each.core.state.effects = []
        after = self._state_id((freeze(each.core), each.disk))
        return Outcome(after, sent, each.committed, each.cut, tuple(each.confirmed), leads, violation)

    def _state_id(self, node_state: tuple[Hashable, Disk]) -> int:
        number = self._state_ids.setdefault(node_state, len(self._states))
        if number == len(self._states):
            self._states.append(node_state)
        return number

    def _message_id(self, message: Sent) -> int:
        number = self._message_ids.setdefault(message, len(self._messages))
        if number == len(self._messages):
            self._messages.append(message)
        return number

    def _apply(self, state: State, node: int, outcome: Outcome, budget: Budget) -> State:
        if outcome.violation:
            raise Violation(outcome.violation)
        committed, led, reads = state.committed, state.led, state.reads
        if outcome.committed:
            common = min(len(committed), len(outcome.committed))
            if committed[:common] != outcome.committed[:common]:
                raise Violation(f"node {node} takes another block for committed than was committed before")
            committed = max(committed, outcome.committed, key=len)
        for header in outcome.cut:
            if header.hash in state.committed:
                raise Violation(f"node {node} cuts the committed block {header.index}")
        if outcome.leads is not None:
            leads = outcome.leads, state.lives[node - 1]
            if outcome.leads.node != node or any(
                ballot == leads[0] and leads != (ballot, life) for ballot, life in led
            ):
                raise Violation(f"{outcome.leads} leads twice")
            if leads not in led:
                led = tuple(sorted((*led, leads)))
        for read, at_index in outcome.confirmed:
            if at_index < dict(reads)[read]:
                raise Violation(f"read {read} is confirmed at {at_index}: more was committed before it was asked for")
            reads = tuple(each for each in reads if each[0] != read)
        nodes = _replaced(state.nodes, node - 1, outcome.after)
        key = nodes, committed
        violation = self._checked.get(key)
        if violation is None:
            violation = self._checked[key] = self._check(nodes, committed)
        if violation:
            raise Violation(violation)
        return State(nodes, state.network | outcome.sent, budget, committed, led, state.lives, reads)

    def _check(self, nodes: tuple[int, ...], committed: tuple[bytes, ...]) -> str:
        """Say what does not hold of all nodes together."""
        disks = [self._states[number][1] for number in nodes]
        blocks: dict[tuple[int, Ballot], bytes] = {}
        for disk in disks:
            for header in disk.log:
                if blocks.setdefault((header.index, header.ballot), header.hash) != header.hash:
                    return f"two blocks have index {header.index} and {header.ballot}"
            if disk.promise.commit_index > len(disk.log):
                return "more is said to be committed than is durable"
        for index, hash_ in enumerate(committed, 1):
            lacking = [
                node
                for node, disk in enumerate(disks, 1)
                if disk.promise.voting and (len(disk.log) < index or disk.log[index - 1].hash != hash_)
            ]
            if self.membership.is_quorum(lacking):
                return f"a quorum may forget the committed block {index}: nodes {lacking}"
        return ""

    def arrives(self, number: int, together: set[int]) -> bool:
        """Tell whether a message goes from one of these nodes to another."""
        sent = self._messages[number]
        return sent.sender in together and sent.to in together

    def without_dead_messages(self, state: State) -> State:
        """Leave out messages of ballots that the receiver's disk has sealed: nothing can come of them."""
        promises = [self._states[number][1].promise for number in state.nodes]
        if state.budget.wipes or not all(promise.voting for promise in promises):
            return state  # a disk may forget
        network = state.network
        for number, sent in self.sent(state):
            if sent.message.ballot < promises[sent.to - 1].ballot:
                network ^= 1 << number
        return state if network == state.network else state._replace(network=network)

    def described(self, action: Action) -> str:
        """Say in words what happens."""
        if action.name == "deliver":
            sent = self._messages[action.what]
            return f"{sent.sender} -> {sent.to}: {sent.message}"
        return f"{action.name} {action.node} {action.what or ''}"


_SPENDS = {
    "elect": "elections",
    "propose": "blocks",
    "crash": "crashes",
    "wipe": "wipes",
    "heartbeat": "heartbeats",
    "read": "reads",
}


def _replaced(items: tuple[Any, ...], place: int, item: Any) -> tuple[Any, ...]:
    return (*items[:place], item, *items[place + 1 :])
