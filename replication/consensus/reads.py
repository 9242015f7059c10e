"""Reads: linearizable ones, confirmed in batches.

A read is confirmed by a round of heartbeats that was sent after it was asked for: a quorum that answers had promised no
higher ballot until then, so no other leader can have committed anything before the read was asked for (ReadIndex in
Ongaro's dissertation, section 6.4). While one round is under way, later reads wait for the next.
"""

from replication.consensus.interface.effects import ConfirmRead, RefuseRead
from replication.consensus.node_state import NodeState


class Reads:
    """Reads of one leadership that were not answered yet."""

    __slots__ = ("asked", "commit_index", "round", "waiting")

    def __init__(self) -> None:
        self.waiting: list[int] = []
        """They will be confirmed by a round to come."""
        self.asked: list[int] = []
        self.round = 0
        """That confirms those asked; 0 where there are none."""
        self.commit_index = 0
        """When the round began."""

    def add(self, read: int) -> None:
        """Take a read."""
        self.waiting.append(read)

    def begin(self, round_: int, commit_index: int) -> None:
        """All that wait are confirmed by a round that begins now."""
        assert not self.asked
        self.asked, self.waiting = self.waiting, []
        self.round = round_
        self.commit_index = commit_index

    def confirm(self, state: NodeState, quorum_answered: bool) -> None:
        """Answer the reads of the round under way, once a quorum did."""
        if not self.round or not quorum_answered:
            return
        state.effects += [ConfirmRead(read, self.commit_index) for read in self.asked]
        self.asked = []
        self.round = 0

    def refuse(self, state: NodeState) -> None:
        """Refuse all that were not confirmed."""
        state.effects += [RefuseRead(read) for read in self.asked + self.waiting]
        self.asked, self.waiting, self.round = [], [], 0
