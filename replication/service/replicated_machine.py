"""What stands above a replicated log: it seals blocks while its node leads, and applies what is committed."""

from typing import Protocol

from replication.consensus.interface.effects import Alarm
from replication.consensus.interface.header import Tip
from replication.log.ballot import Ballot
from replication.log.block import Block


class ReplicatedMachine(Protocol):
    """Told of everything by the protocol's thread, in the order in which it happens; nothing here may wait."""

    def open_intake(self, ballot: Ballot, tip: Tip) -> None:
        """Begin, or go on, to seal blocks of this ballot, the first behind ``tip`` or behind the last one sealed."""

    def close_intake(self, to: int) -> None:
        """Seal nothing more for now: node ``to`` is to lead."""

    def stepped_down(self, commit_index: int) -> None:
        """Seal nothing more. Blocks behind ``commit_index`` that were sealed here are neither done nor undone."""

    def committed(self, block: Block) -> None:
        """Apply a block. They come in order, each once, and stay in the log whatever fails."""

    def leader_changed(self, leader: Ballot) -> None:
        """Name this leader to clients; `NO_BALLOT` where none is known."""

    def alarm(self, alarm: Alarm) -> None:
        """Tell an operator."""

    def failed(self, error: Exception) -> None:
        """Stop the node: its disk failed, and it takes no part any more."""
