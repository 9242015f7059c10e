"""Suspicion: who may try to lead, and when.

A voter that saw no progress asks all others whether they did; a quorum that saw none agrees to a new ballot. So one
node with a bad connection disturbs nobody. The coordinator then gives the epoch to one of those that want it. All this
only decides who tries next and is never needed for safety: that rests on the promises (`candidate`).
"""

from replication.consensus.interface.effects import CasEpoch
from replication.consensus.interface.events import EpochDecided, Timer
from replication.consensus.interface.messages import Suspect, Suspected
from replication.consensus.node_state import NodeState
from replication.log.ballot import Ballot


class Suspicion:
    """A node's attempts to get an epoch."""

    __slots__ = ("agreeing", "attempt", "expected_epoch", "permitted", "wanted_epoch")

    def __init__(self) -> None:
        self.attempt = 0
        self.agreeing: set[int] = set()
        self.wanted_epoch = 0
        """The coordinator was asked for it; 0 where it was not, or somebody leads again."""
        self.expected_epoch = 0
        """The epoch that the coordinator was asked to replace."""
        self.permitted = False
        """Whether the leader itself asked this node to take over: its heartbeats do not calm it."""

    def calm(self) -> None:
        """Somebody leads, or is about to: forget all attempts."""
        self.agreeing = set()
        self.wanted_epoch = 0
        self.permitted = False

    def tick(self, state: NodeState) -> None:
        """Look whether a leader makes progress, and ask the others where none does."""
        config = state.config
        self.permitted = False
        if state.suspects:
            self.ask(state)
            state.set_timer(Timer.SUSPICION, config.suspicion_ns, config.suspicion_jitter_ns)
        else:
            remaining_ns = state.progress_ns + config.suspicion_ns - state.now_ns
            state.set_timer(Timer.SUSPICION, remaining_ns, config.suspicion_jitter_ns)

    def ask(self, state: NodeState) -> None:
        """Ask all others whether they suspect, too."""
        if not state.elector or not state.config.may_lead:
            return
        self.attempt += 1
        self.agreeing = {state.node}
        tip = state.outline.tip
        question = Suspect(state.promised, state.membership.generation, self.attempt, tip.ballot, tip.index)
        for node in state.other_electors:
            state.send(node, question)
        self._want_epoch_with_quorum(state)

    def asked(self, state: NodeState, sender: int, message: Suspect, *, leads: bool) -> None:
        """Answer another's question. Nothing is promised by that."""
        tip = state.outline.tip
        # Who would have to fetch much before it could lead should leave it to who has it.
        longer = (
            state.config.may_lead
            and tip.rank > (message.tip_ballot, message.tip_index)
            and tip.index > message.tip_index + state.config.window_blocks
        )
        agrees = state.elector and state.suspects and not leads and not longer
        answer = Suspected(state.promised, state.membership.generation, message.attempt, agrees)
        state.send(sender, answer)

    def answered(self, state: NodeState, sender: int, message: Suspected) -> None:
        """Count who suspects."""
        if message.agrees and message.attempt == self.attempt and self.agreeing:
            self.agreeing.add(sender)
            self._want_epoch_with_quorum(state)

    def want_epoch(self, state: NodeState) -> None:
        """Ask the coordinator for an epoch higher than all that were heard of."""
        self.agreeing = set()
        self.expected_epoch = state.coordinator_epoch
        self.wanted_epoch = max(state.coordinator_epoch, state.epoch_seen) + 1
        state.effects.append(CasEpoch(self.expected_epoch, self.wanted_epoch))

    def decided(self, state: NodeState, event: EpochDecided) -> Ballot | None:
        """Take the coordinator's answer; return the ballot that this node may try now, if it may."""
        state.coordinator_epoch = event.epoch
        if not self.wanted_epoch:
            return None
        ballot = Ballot(event.epoch, event.node)
        if event.node == state.node and event.epoch == self.wanted_epoch:
            self.calm()
            return ballot if ballot > state.promised and state.elector else None
        if event.node != state.node and ballot > state.promised:
            self.calm()
            state.sign_of_progress()  # it tries: leave it the time
        elif event.epoch != self.expected_epoch:
            self.want_epoch(state)  # only the expectation was wrong
        return None

    def _want_epoch_with_quorum(self, state: NodeState) -> None:
        if state.membership.is_quorum(self.agreeing):
            self.want_epoch(state)
