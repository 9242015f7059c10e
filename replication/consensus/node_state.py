"""Node state: what a node knows and has promised, whatever its role, and the effects of the event under way."""

from collections import deque
from dataclasses import replace

from replication.consensus.interface.config import ConsensusConfig
from replication.consensus.interface.effects import (
    Alarm,
    Committed,
    Concern,
    Effect,
    Send,
    SetTimer,
    StorePromise,
    Truncate,
    WriteBlocks,
)
from replication.consensus.interface.events import BlocksDurable, Timer
from replication.consensus.interface.header import Header
from replication.consensus.interface.membership import Membership
from replication.consensus.interface.messages import Extent, Message
from replication.consensus.interface.promise import Incarnation, Promise
from replication.consensus.outline import Outline
from replication.log.ballot import Ballot


class NodeState:
    """Roles change it through its methods, which keep what must always hold."""

    __slots__ = (
        "_bound_number",
        "_cut_points",
        "_number",
        "_stored_number",
        "commit_index",
        "config",
        "coordinator_epoch",
        "cut",
        "effects",
        "epoch_seen",
        "node",
        "now_ns",
        "outline",
        "progress_ns",
        "promise",
        "request",
        "voting",
    )

    def __init__(self, node: int, stored: Promise, outline: Outline, config: ConsensusConfig) -> None:
        self.node = node
        self.config = config
        self.promise = stored
        self.voting = stored.voting
        """As stored: what is only on its way to the disk does not count."""
        self.outline = outline
        self.commit_index = min(max(stored.commit_index, outline.base.index), outline.tip.index)
        """The leader's may be ahead of its own disk."""
        self.now_ns = 0
        self.progress_ns = 0
        """When a leader, or a candidate, last gave a sign of progress."""
        self.epoch_seen = stored.ballot.epoch
        """The highest in any ballot heard of."""
        self.coordinator_epoch = 0
        self.effects: list[Effect] = []
        self.cut = 0
        self.request = 0
        self._cut_points: deque[tuple[int, int]] = deque()
        self._number = 0
        self._bound_number = 0
        self._stored_number = 0

    @property
    def membership(self) -> Membership:
        """The newest one known."""
        return self.promise.membership

    @property
    def promised(self) -> Ballot:
        """The highest ballot promised, stored or on its way to the disk: lower ones are refused from now on."""
        return self.promise.ballot

    @property
    def elector(self) -> bool:
        """Whether this node's voice counts."""
        return self.voting and self.node in self.membership.electors

    @property
    def others(self) -> list[int]:
        """All other nodes that hold the log, ascending."""
        return sorted(self.membership.nodes - {self.node})

    @property
    def other_electors(self) -> list[int]:
        """All other nodes that decide, ascending."""
        return sorted(self.membership.electors - {self.node})

    def send(self, to: int, message: Message) -> None:
        """Send a message to another node."""
        assert to != self.node
        self.effects.append(Send(to, message))

    def set_timer(self, timer: Timer, after_ns: int, jitter_ns: int = 0) -> None:
        """Set a timer."""
        self.effects.append(SetTimer(timer, after_ns, jitter_ns))

    def alarm(self, concern: Concern, node: int, at_index: int) -> None:
        """Tell an operator."""
        self.effects.append(Alarm(concern, node, at_index))

    def sign_of_progress(self) -> None:
        """Note that somebody leads, or is about to."""
        self.progress_ns = self.now_ns

    @property
    def suspects(self) -> bool:
        """Whether nobody gave a sign of progress for too long."""
        return self.now_ns - self.progress_ns >= self.config.suspicion_ns

    def see_ballot(self, ballot: Ballot) -> None:
        """Note a ballot that another node named, so that the next own one is higher."""
        if ballot.epoch > self.epoch_seen:
            self.epoch_seen = ballot.epoch

    # The promise

    def bind(
        self,
        *,
        ballot: Ballot | None = None,
        membership: Membership | None = None,
        incarnation: Incarnation | None = None,
        voting: bool | None = None,
    ) -> None:
        """Promise more, and store it: what rests on it waits until `bound` is true."""
        promise = self.promise
        assert ballot is None or ballot > promise.ballot
        assert membership is None or membership.generation > promise.membership.generation
        assert incarnation is None or incarnation > promise.incarnation
        if ballot is not None:
            self.see_ballot(ballot)
        self._store(
            replace(
                promise,
                ballot=ballot or promise.ballot,
                membership=membership or promise.membership,
                incarnation=incarnation or promise.incarnation,
                voting=promise.voting if voting is None else voting,
            )
        )
        self._bound_number = self._number
        if voting is False:
            self.voting = False

    def learn_incarnation(self, node: int, incarnation: Incarnation) -> None:
        """Promise to count no vote of an earlier incarnation of ``node``."""
        if incarnation <= self.promise.incarnation_of(node):
            return
        known = dict(self.promise.incarnations) | {node: incarnation}
        self._store(replace(self.promise, incarnations=tuple(sorted(known.items()))))
        self._bound_number = self._number

    def store_commit_index(self) -> None:
        """Store how far the log is committed, where that is more than what is stored. Nothing waits for it."""
        if min(self.commit_index, self.outline.durable_index) > self.promise.commit_index:
            self._store(self.promise)

    def _store(self, promise: Promise) -> None:
        commit_index = max(promise.commit_index, min(self.commit_index, self.outline.durable_index))
        self.promise = replace(promise, commit_index=commit_index)
        self._number += 1
        self.effects.append(StorePromise(self._number, self.promise))

    def stored(self, number: int) -> None:
        """A record is on the disk."""
        self._stored_number = max(self._stored_number, number)
        if self.bound:
            self.voting = self.promise.voting

    @property
    def bound(self) -> bool:
        """Whether all that was promised is on the disk."""
        return self._stored_number >= self._bound_number

    # The log

    def write(self, headers: tuple[Header, ...]) -> None:
        """Append blocks to the log."""
        for header in headers:
            self.outline.append(header)
        self.outline.forget(self.commit_index, self.config.recent_blocks)
        self.effects.append(WriteBlocks(self.cut, headers))

    def truncate(self, after_index: int) -> None:
        """Cut the log behind a block: what is committed is never cut."""
        assert after_index >= self.commit_index, "a committed block would be cut"
        self.outline.cut(after_index)
        self.cut += 1
        self._cut_points.append((self.cut, after_index))
        self.effects.append(Truncate(self.cut, after_index))

    def truncate_unreadable(self) -> None:
        """Cut from the log what the outline does not have because it cannot be read."""
        self.cut += 1
        self._cut_points.append((self.cut, self.outline.tip.index))
        self.effects.append(Truncate(self.cut, self.outline.tip.index))

    def durable(self, event: BlocksDurable) -> bool:
        """Take a completion; tell whether more is durable than before."""
        index = event.durable_index
        cuts = self._cut_points
        while cuts and cuts[0][0] <= event.cut:
            cuts.popleft()  # completions come in order: none from before that cut comes any more
        if cuts:
            index = min(index, min(after_index for _, after_index in cuts))
        outline = self.outline
        if index <= outline.durable_index or index > outline.tip.index:
            return False
        if index == event.durable_index and outline.hash_at(index) != event.hash:
            return False
        outline.durable_index = index
        return True

    def commit(self, index: int) -> None:
        """All blocks up to ``index`` are committed."""
        assert index <= self.outline.tip.index
        if index > self.commit_index:
            self.commit_index = index
            self.effects.append(Committed(index))

    @property
    def extent(self) -> Extent:
        """What is durable in the log."""
        return self.outline.extent(min(self.commit_index, self.outline.durable_index))
