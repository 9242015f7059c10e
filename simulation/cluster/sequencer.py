"""Sequencer: orders what clients submit and seals it into blocks, while its node may take any in."""

from collections import deque
from collections.abc import Callable
from typing import Final

from replication.consensus.interface.header import Tip
from replication.log.ballot import NO_BALLOT, Ballot
from replication.log.block import Block
from replication.log.errors import LogBusy, LogFull
from replication.service.block_store import header_of
from simulation.cluster.blocks import seal
from simulation.cluster.wire import Submission
from simulation.world.clock import NodeClock
from simulation.world.simulated_log import SimulatedLog
from simulation.world.timeline import MS

BLOCK_BYTES: Final = 4096
"""Most that a block takes here."""
_TRANSACTIONS_MAX: Final = 8
_UNDER_WAY_MAX: Final = 12
_JUMP_NS_MAX: Final = 1000 * MS
"""Most by which a block's time is ahead of the last one's: a clock that leaps does not take sessions along."""


class Sequencer:
    """The sequencer of one run of a node. Blocks that it sealed are its leader's to propose."""

    def __init__(self, log: SimulatedLog, clock: NodeClock, propose: Callable[[Block], None]) -> None:
        self._log, self._clock, self._propose = log, clock, propose
        self._ballot = NO_BALLOT
        self._tip: Tip | None = None
        self._waiting: deque[Submission] = deque()
        self.open = False
        """Whether submissions are taken in."""
        self.sealed: dict[int, tuple[bytes, tuple[Submission, ...]]] = {}
        """By index, the hash and the submissions of the blocks that nobody was answered for yet."""

    def begin(self, ballot: Ballot, tip: Tip) -> bool:
        """Seal the empty block that opens a ballot; False where there is no room for it yet."""
        if not self._reserve():
            return False
        self._ballot, self._tip = ballot, tip
        self._seal(())
        return True

    def submit(self, submission: Submission) -> None:
        """Take a submission in."""
        assert self.open
        self._waiting.append(submission)
        self.seal_waiting()

    def seal_waiting(self) -> None:
        """Seal what waits, unless enough is under way."""
        while self.open and self._waiting and len(self.sealed) < _UNDER_WAY_MAX and self._reserve():
            count = min(len(self._waiting), _TRANSACTIONS_MAX)
            self._seal(tuple(self._waiting.popleft() for _ in range(count)))

    def close(self) -> list[Submission]:
        """Seal nothing any more; return what has not been sealed."""
        self.open = False
        left = list(self._waiting)
        self._waiting.clear()
        return left

    def _reserve(self) -> bool:
        try:
            self._log.reserve(BLOCK_BYTES)
        except (LogFull, LogBusy):
            return False
        return True

    def _seal(self, submissions: tuple[Submission, ...]) -> None:
        tip = self._tip
        assert tip is not None
        wall_ns = self._clock.time_ns()
        if tip.time_ns:
            wall_ns = min(wall_ns, tip.time_ns + _JUMP_NS_MAX)
        block = seal(
            self._ballot,
            tip,
            max(tip.time_ns + 1, wall_ns),
            submissions,
            log_id=self._log.log_id,
            durable_index=min(self._log.durable_index, tip.index),
        )
        self._tip = header_of(block).tip
        self.sealed[block.index] = (block.hash, submissions)
        self._propose(block)
