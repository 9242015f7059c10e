"""A cluster of cores that does what it is told: messages arrive in order, at once, unless a link is cut."""

from collections import deque
from typing import Any, TypeVar

from replication.consensus.core import Core
from replication.consensus.interface import effects, events
from replication.consensus.interface.config import ConsensusConfig
from replication.consensus.interface.events import Timer
from replication.consensus.interface.header import Header
from replication.consensus.interface.membership import Membership
from replication.consensus.interface.messages import Message, Presence
from replication.consensus.interface.promise import Incarnation, Promise
from replication.consensus.outline import Outline
from replication.log.ballot import NO_BALLOT
from tests.replication.consensus.world import apply_change, block

Kind = TypeVar("Kind")


class Cluster:
    """Nodes 1 to ``count``, with disks that work at once unless they are told to hang, and a coordinator."""

    def __init__(
        self, count: int = 3, config: ConsensusConfig | None = None, learners: frozenset[int] = frozenset()
    ) -> None:
        self.config = config or ConsensusConfig()
        self.membership = Membership(1, frozenset(range(1, count + 1)), learners)
        self.promises = {
            node: Promise(NO_BALLOT, self.membership, Incarnation(0, node)) for node in self.membership.nodes
        }
        self.logs: dict[int, tuple[Header, ...]] = dict.fromkeys(self.membership.nodes, ())
        self.cores: dict[int, Core] = {}
        self.done: dict[int, list[effects.Effect]] = {node: [] for node in self.membership.nodes}
        self.timers: dict[tuple[int, Timer], int] = {}
        self.cut: set[tuple[int, int]] = set()
        """Links that lose everything, by sender and receiver."""
        self.hanging: dict[int, list[effects.WriteBlocks | effects.Truncate]] = {}
        """Disks that complete no writes."""
        self.now_ns = 0
        self.epoch = (0, 0)
        self.coordinator_works = True
        self._events: deque[tuple[int, events.Event]] = deque()
        for node in sorted(self.membership.nodes):
            self.start(node)

    def start(self, node: int, doubtful_index: int = 0) -> None:
        """Start a node with what its disk has."""
        self.timers = {key: at_ns for key, at_ns in self.timers.items() if key[0] != node}
        self.cores[node] = Core(node, self.promises[node], Outline(self.logs[node]), self.config, doubtful_index)
        self.give(node, events.Started(self.now_ns))

    def give(self, node: int, *given: events.Event) -> None:
        """Let a node handle events, and everything that comes of them."""
        self._events += [(node, event) for event in given]
        while self._events:
            to, event = self._events.popleft()
            if to in self.cores:
                for effect in self.cores[to].handle(event):
                    self.done[to].append(effect)
                    self._do(to, effect)

    def receive(self, to: int, sender: int, message: Message) -> None:
        """Let a message arrive."""
        self.give(to, events.Received(sender, message, self.now_ns))

    def elect(self, node: int) -> None:
        """Let a node try to lead."""
        core = self.cores[node]
        core.suspicion.want_epoch(core.state)
        self.epoch = core.suspicion.wanted_epoch, node
        self.give(node, events.EpochDecided(*self.epoch, self.now_ns))

    def propose(self, node: int, count: int = 1) -> None:
        """Let a leader's sequencer seal blocks."""
        for what in range(count):
            core = self.cores[node]
            assert core.leader is not None
            self.give(
                node, events.Proposed((block(core.state.outline.tip, core.leader.ballot, what + 1),), self.now_ns)
            )

    def pass_time(self, duration_ns: int) -> None:
        """Let time pass, and timers fire."""
        end_ns = self.now_ns + duration_ns
        while self.timers:
            key = min(self.timers, key=lambda key: (self.timers[key], key))
            if self.timers[key] > end_ns:
                break
            self.now_ns = max(self.now_ns, self.timers.pop(key))
            self.give(key[0], events.TimerFired(key[1], self.now_ns))
        self.now_ns = end_ns

    def isolate(self, node: int) -> None:
        """Cut a node's links, both ways."""
        for other in self.membership.nodes - {node}:
            self.cut |= {(node, other), (other, node)}

    def complete(self, node: int, count: int) -> None:
        """Let a hanging disk complete some of what it was asked."""
        changes = self.hanging.pop(node)
        for change in changes[:count]:
            self._do(node, change)
        self.hanging[node] = changes[count:]
        self.give(node)

    def leaders(self) -> list[int]:
        """Return the nodes that think they lead."""
        return [node for node, core in sorted(self.cores.items()) if core.leader is not None]

    def of(self, node: int, kind: type[Kind]) -> list[Kind]:
        """Return what a node asked its host for, of one kind."""
        return [effect for effect in self.done[node] if isinstance(effect, kind)]

    def said(self, node: int, kind: type[Kind]) -> list[Kind]:
        """Return a node's messages of one kind."""
        return [effect.message for effect in self.of(node, effects.Send) if isinstance(effect.message, kind)]

    def _do(self, node: int, effect: effects.Effect) -> None:
        now_ns = self.now_ns
        answer: Any = None
        if isinstance(effect, effects.Send):
            if (node, effect.to) not in self.cut:
                self._events.append((effect.to, events.Received(node, effect.message, now_ns)))
        elif isinstance(effect, effects.StorePromise):
            self.promises[node] = effect.promise
            answer = events.PromiseStored(effect.number, now_ns)
        elif isinstance(effect, effects.WriteBlocks | effects.Truncate):
            if node in self.hanging:
                self.hanging[node].append(effect)
                return
            self.logs[node] = apply_change(self.logs[node], effect)
            if isinstance(effect, effects.WriteBlocks):
                last = effect.headers[-1]
                answer = events.BlocksDurable(effect.cut, last.index, last.hash, now_ns)
        elif isinstance(effect, effects.ReadBlocks):
            headers = self.logs[node][effect.first - 1 : effect.last]
            whole = len(headers) == effect.last - effect.first + 1
            presence = Presence.HAVE if whole else Presence.NEVER_HAD
            answer = events.BlocksRead(effect.request, headers, presence, now_ns)
        elif isinstance(effect, effects.SetTimer):
            self.timers[node, effect.timer] = now_ns + effect.after_ns + node * effect.jitter_ns // 10
        elif isinstance(effect, effects.CasEpoch):
            if self.coordinator_works:
                if self.epoch[0] == effect.expected:
                    self.epoch = effect.new, node
                answer = events.EpochDecided(*self.epoch, now_ns)
        elif isinstance(effect, effects.BeginEpoch):
            answer = events.Proposed((block(effect.tip, effect.ballot, 0),), now_ns)
        if answer is not None:
            self._events.append((node, answer))
