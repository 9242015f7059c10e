"""Candidate: the first phase of Paxos. Seals all lower ballots on a quorum, then makes the own log the best of theirs.

Whatever was committed under a lower ballot had been synced by a quorum before that sealed it, so one of every quorum of
promises has it; and of the logs reported the one of the highest rank (ballot of the last block, then its index) has
everything that any has and that may be committed, as each leader began with such a log itself. The candidate reads from
that log what its own lacks, and cuts what differs.
"""

from replication.consensus.adoption import adopt
from replication.consensus.interface.effects import Concern
from replication.consensus.interface.events import Timer
from replication.consensus.interface.messages import Extent, Fetch, Fetched, Presence, Seal, Sealed
from replication.consensus.interface.promise import Incarnation
from replication.consensus.node_state import NodeState
from replication.log.ballot import Ballot


class Candidate:
    """One attempt to lead, under a ballot that this node promised first and never uses again."""

    __slots__ = ("_target", "_unable", "ballot", "begun", "sealed", "source")

    def __init__(self, ballot: Ballot) -> None:
        self.ballot = ballot
        self.begun = False
        """Whether the own promise is stored."""
        self.sealed: dict[int, Sealed] = {}
        self.source = 0
        """The node whose log is read; 0 while promises are being gathered."""
        self._target: Extent | None = None
        """The log that must be had whole before this node leads."""
        self._unable: set[int] = set()
        """Nodes that could not give the next block."""

    def begin(self, state: NodeState) -> bool:
        """The own promise is stored: ask for those of the others. Tell whether this node leads at once."""
        assert state.bound
        assert state.promised == self.ballot
        self.begun = True
        self.ask(state)
        return self._choose(state)

    def ask(self, state: NodeState) -> None:
        """Ask, or ask again, for what was not answered."""
        if self.source:
            self._fetch(state)
        else:
            for node in state.other_electors:
                if node not in self.sealed:
                    state.send(node, Seal(self.ballot, state.membership.generation))
        state.set_timer(Timer.RETRY, state.config.retry_ns, state.config.retry_ns)

    def answered(self, state: NodeState, sender: int, message: Sealed) -> bool:
        """Take a promise; tell whether this node leads now."""
        if message.ballot != self.ballot or sender in self.sealed:
            return False
        self.sealed[sender] = message
        return not self.source and self._choose(state)

    def fetched(self, state: NodeState, sender: int, message: Fetched) -> bool:
        """Take blocks; tell whether this node leads now."""
        if message.ballot != self.ballot or sender != self.source or self._target is None:
            return False
        next_index = self._fork_index(state) + 1
        if message.headers and message.first <= next_index <= message.headers[-1].index:
            # Not every answer is to the last question: what it has more than that is passed over.
            state.sign_of_progress()
            self._unable.clear()
            if adopt(state, message.headers) < message.headers[-1].index:
                return False
            if self._fork_index(state) == self._target.tip.index:
                return True
        elif message.presence is not Presence.HAVE and message.first == next_index:
            state.alarm(Concern.BLOCK_UNREADABLE, sender, next_index)
            self._unable.add(sender)
        else:
            return False
        self._fetch(state)
        return False

    def _choose(self, state: NodeState) -> bool:
        voters = self._votes(state)
        if not state.membership.is_quorum([state.node, *voters]):
            return False
        best = max(voters, key=lambda node: self.sealed[node].extent.tip.rank, default=state.node)
        if best == state.node or self.sealed[best].extent.tip.rank <= state.outline.tip.rank:
            return True
        self.source = best
        self._target = self.sealed[best].extent
        self._fetch(state)
        return False

    def _votes(self, state: NodeState) -> list[int]:
        """Return the nodes whose promises count: voters' that were not given by a disk that is known to be lost."""
        return [
            node
            for node, sealed in sorted(self.sealed.items())
            if sealed.voting and sealed.incarnation >= self._highest_incarnation(state, node)
        ]

    def _highest_incarnation(self, state: NodeState, node: int) -> Incarnation:
        known = [state.promise.incarnation_of(node)]
        for sealed in self.sealed.values():
            known += [incarnation for other, incarnation in sealed.incarnations if other == node]
        return max(known)

    def _fork_index(self, state: NodeState) -> int:
        target = self._target
        assert target is not None
        fork = state.outline.fork_index(target, min(state.commit_index, target.commit_index))
        assert fork >= state.commit_index, "a quorum lacks a committed block"
        return fork

    def _fetch(self, state: NodeState) -> None:
        assert self._target is not None
        next_index = self._fork_index(state) + 1
        wanted = self._target.ballot_at(next_index)
        holders = [
            node
            for node, sealed in sorted(self.sealed.items())
            if node not in self._unable
            and (sealed.extent == self._target or (wanted and sealed.extent.ballot_at(next_index) == wanted))
        ]
        if not holders:
            self._unable.clear()  # the timer asks all of them again
            return
        if self.source not in holders:
            self.source = holders[0]
        last = min(self._target.tip.index, next_index + state.config.window_blocks - 1)
        state.send(self.source, Fetch(self.ballot, state.membership.generation, next_index, last))
