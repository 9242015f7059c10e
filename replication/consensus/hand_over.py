"""Hand-over: a leader gives the lead to a node of its choice, and waits for it no longer than a bound."""

from replication.consensus.interface.effects import CloseIntake, HandOverEnded, OpenIntake
from replication.consensus.interface.events import Timer
from replication.consensus.interface.messages import TakeOver
from replication.consensus.node_state import NodeState
from replication.consensus.progress import Progress
from replication.log.ballot import Ballot


class HandOver:
    """The hand-over of one leadership, if one is under way: intake is closed, and the successor gets the whole log."""

    __slots__ = ("to",)

    def __init__(self) -> None:
        self.to = 0
        """0 where none is under way."""

    def begin(self, state: NodeState, ballot: Ballot, to: int) -> None:
        """Close intake."""
        assert not self.to
        self.to = to
        state.effects.append(CloseIntake(ballot, to))
        state.set_timer(Timer.HAND_OVER, state.config.hand_over_ns)

    def permit(self, state: NodeState, ballot: Ballot, peer: Progress) -> None:
        """Permit the successor to seal its own ballot, once it has synced all that this node proposed."""
        outline = state.outline
        if peer.node == self.to and peer.counts and peer.durable_index == outline.tip.index == state.commit_index:
            state.send(peer.node, TakeOver(ballot, state.membership.generation))

    def give_up(self, state: NodeState, ballot: Ballot) -> None:
        """The successor did not take over in time: go on leading."""
        if self.to:
            self.end(state, done=False)
            state.effects.append(OpenIntake(ballot))

    def end(self, state: NodeState, *, done: bool) -> None:
        """Tell how it ended."""
        if self.to:
            state.effects.append(HandOverEnded(self.to, done))
            self.to = 0
