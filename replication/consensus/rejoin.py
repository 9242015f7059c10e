"""Rejoin: the way back of a node that lost its disk, or cannot read what it acknowledged.

It may have promised ballots and acknowledged blocks that it knows nothing of, so it votes for nothing until it cannot
contradict them any more (Liskov and Cowling, "Viewstamped Replication Revisited", section 4.3):

1. A quorum of *others* say what they promised, having stored that the node's earlier incarnations do not count any
   more. Every ballot that this node may have helped to seal, and that may still lead, is among those, or the candidate
   finds the new incarnation among its promises and does without the old one's.
2. A leader of the highest of these ballots, or of a higher one, brings the log up to what that leader's was at a time
   after the loss. Its heartbeat names the incarnation, which proves the time. This contains every block that the node
   may have acknowledged and that may be committed.
"""

from replication.consensus.interface.events import Timer
from replication.consensus.interface.messages import Heartbeat, Rejoin, Rejoined
from replication.consensus.interface.promise import Incarnation
from replication.consensus.node_state import NodeState
from replication.log.ballot import Ballot


class Rejoining:
    """A node's way back, until it votes again."""

    __slots__ = ("answers", "target_index")

    def __init__(self) -> None:
        self.answers: dict[int, Rejoined] = {}
        self.target_index: int | None = None
        """What the own log must reach; unknown until a leader that may say so was heard."""

    def ask(self, state: NodeState) -> None:
        """Ask those who did not answer."""
        promise = state.promise
        if state.bound:
            for node in state.other_electors:
                if node not in self.answers:
                    state.send(node, Rejoin(promise.ballot, promise.membership.generation, promise.incarnation))
        state.set_timer(Timer.RETRY, state.config.retry_ns, state.config.retry_ns)

    def answered(self, state: NodeState, sender: int, message: Rejoined) -> Ballot | None:
        """Take what another node promised; return its ballot where this node must promise it, too."""
        own = state.promise.incarnation
        if message.incarnation > own:
            # An earlier loss of this disk came further than this one knows.
            self.answers.clear()
            state.bind(incarnation=Incarnation(message.incarnation.number + 1, own.log_id))
        elif message.incarnation == own and message.voting:
            self.answers[sender] = message
            if message.ballot > state.promised:
                return message.ballot
        return None

    def heard(self, state: NodeState, message: Heartbeat) -> None:
        """A leader said how long its log is."""
        after_the_loss = message.incarnation == state.promise.incarnation
        if self.target_index is None and after_the_loss and self._answered_by_quorum(state):
            assert message.ballot >= max(answer.ballot for answer in self.answers.values())
            self.target_index = message.last_index

    def ended(self, state: NodeState, matched_index: int) -> bool:
        """Tell whether the log is what it must be; then the node is bound to vote again."""
        if self.target_index is None or min(matched_index, state.outline.durable_index) < self.target_index:
            return False
        state.bind(voting=True)
        return True

    def _answered_by_quorum(self, state: NodeState) -> bool:
        return state.membership.is_quorum(self.answers)
