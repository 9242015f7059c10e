"""Bodies: the blocks that a node has in memory: those not written yet, not applied yet, and a few behind them."""

from typing import Final

from replication.log.block import Block
from replication.log.errors import LogCorrupted
from simulation.world.simulated_log import SimulatedLog

_KEPT: Final = 12
"""Blocks kept behind the last one applied; older ones are read from the log, as a follower that lags needs them."""


class Bodies:
    """Blocks by index and hash."""

    def __init__(self, log: SimulatedLog) -> None:
        self._log = log
        self._blocks: dict[tuple[int, bytes], Block] = {}
        self._forgotten = 0

    def add(self, block: Block) -> None:
        """Keep a block that was sealed, or came with a message."""
        self._blocks[block.index, block.hash] = block

    def find(self, index: int, block_hash: bytes) -> Block | None:
        """Return a block, from memory or from the log; None where neither has it, or the log cannot read it."""
        try:
            return self.read(index, block_hash)
        except LogCorrupted:
            return None

    def read(self, index: int, block_hash: bytes) -> Block | None:
        """Return a block, from memory or from the log; None where neither has it.

        Raises:
            LogCorrupted: the log has it, damaged.
        """
        block = self._blocks.get((index, block_hash))
        if block is None and self._log.first_index <= index <= self._log.last_index:
            block = next(self._log.read(index))
        return block if block is not None and block.hash == block_hash else None

    def applied(self, index: int) -> None:
        """Forget what is far behind ``index`` and in the log. A leader may apply what its own disk has not."""
        index = min(index, self._log.last_index)
        if index - self._forgotten >= 2 * _KEPT:
            self._forgotten = index - _KEPT
            self._blocks = {key: block for key, block in self._blocks.items() if key[0] > self._forgotten}
