"""The commit gate, between the log writer and the applier: holds durable blocks until the commit index reaches them.

The commit index is Raft's: all blocks up to it stay in the log, whatever fails, so they may be applied and answered. A
block that is durable on this node is not committed by that alone where other nodes have a say.

Whoever knows the commit index calls `CommitGate.advance`. On a node without others the log writer does: there it is the
durable index, and blocks pass at once. With a quorum, the part that counts the nodes' acknowledgements takes the log
writer's reports as one of them, and calls it.
"""

import logging
import threading
from collections import deque
from typing import Final

from penstock.host.clock import SYSTEM_CLOCK, Clock
from services.pipeline.channel import ChannelClosed
from services.pipeline.sealed_block import SealedBlock
from services.pipeline.stage import Intake
from services.telemetry.counters import Counter, Counters

DRAIN_S_MAX: Final = 10.0
"""How long an end waits for commits unless it is told to wait for less: others decide on them, and may never do."""

_log = logging.getLogger(__name__)


class CommitGate:
    """A stage without a thread: blocks come from the log writer's and leave in that of whoever advances the index.

    It costs a lock per block and nothing per transaction.
    """

    def __init__(
        self,
        applier: Intake[SealedBlock],
        counters: Counters,
        committed_index: int,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Let blocks behind ``committed_index``, the last that was replayed, through to ``applier``."""
        self._applier = applier
        self._counters = counters
        self._lock = threading.Lock()
        self._held: deque[SealedBlock] = deque()
        self._durable_index = committed_index
        self._commit_index = committed_index
        self._committed_index = committed_index
        self._clock = clock
        self._drain_s = DRAIN_S_MAX
        self._closed = False
        self._ended = threading.Event()
        counters.put(Counter.COMMITTED_INDEX, committed_index)

    @property
    def committed_index(self) -> int:
        """Index of the last block that is committed and durable here: `advance` may be ahead of this node's disk."""
        return self._committed_index

    @property
    def closed(self) -> bool:
        """Whether blocks are refused."""
        return self._closed

    def submit(self, sealed: SealedBlock) -> None:
        """Take a block that has become durable; called in the order of the log.

        Raises:
            ChannelClosed: the gate was stopped or has failed.
        """
        with self._lock:
            if self._closed:
                raise ChannelClosed
            assert sealed.block.index == self._durable_index + 1, "blocks become durable in order, each once"
            self._durable_index = sealed.block.index
            self._held.append(sealed)
            try:
                self._pass_committed()
            except ChannelClosed:
                refused = self._held.pop()  # it is the caller's still
                assert refused is sealed, "blocks pass in order: the newest one is the last to be refused"
                self._abandon()
                raise

    def advance(self, commit_index: int) -> None:
        """Pass on what is committed up to ``commit_index``. The index never goes back: a lower one changes nothing.

        Raises:
            ChannelClosed: the applier has failed.
        """
        with self._lock:
            self._commit_index = max(self._commit_index, commit_index)
            try:
                self._pass_committed()
            except ChannelClosed:
                self._abandon()
                raise

    def stop(self) -> None:
        """See `services.pipeline.stage`: what is held passes once it is committed, then the applier is stopped."""
        with self._lock:
            self._closed = True
            self._end_if_empty()

    def drain(self) -> None:
        """See `services.pipeline.stage`. What is not committed within the bound is let go of."""
        if not self._clock.wait(self._ended, self._drain_s):
            with self._lock:
                if self._held:
                    _log.warning(
                        "blocks %d to %d were not committed within %.1f s: they stay in the log, and whether they will "
                        "be is unknown to who sent them",
                        self._held[0].block.index,
                        self._held[-1].block.index,
                        self._drain_s,
                    )
                self._abandon()

    def bound_drain(self, timeout_s: float) -> None:
        """Have `drain` wait so many seconds at most."""
        self._drain_s = timeout_s

    def fail(self, _: BaseException) -> None:
        """See `services.pipeline.stage`: whether what is held will be committed, this node will not find out."""
        with self._lock:
            self._abandon()

    def _pass_committed(self) -> None:
        while self._held and self._held[0].block.index <= self._commit_index:
            index = self._held[0].block.index
            assert self._committed_index < index <= self._durable_index
            self._committed_index = index
            self._counters.put(Counter.COMMITTED_INDEX, index)
            self._applier.submit(self._held[0])
            self._held.popleft()
        if self._closed:
            self._end_if_empty()

    def _abandon(self) -> None:
        self._closed = True
        while self._held:
            self._held.popleft().release()
        self._end_if_empty()

    def _end_if_empty(self) -> None:
        if not self._held:
            self._applier.stop()
            self._ended.set()
