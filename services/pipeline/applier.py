"""Stage 3, the applier: applies committed blocks to the state, and answers those who sent their frames.

Queries come through the same channel as blocks. They are answered between two blocks by the thread that writes the
state, so a read sees all blocks up to one log index and none after it, however many entries it asks for, and whoever
has had an answer to a transaction reads its effect.
"""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from penstock.contract.limits import BATCH_SIZE
from penstock.contract.result_code import SESSIONS_EXHAUSTED
from penstock.host.clock import SYSTEM_CLOCK, Clock
from penstock.host.disk_wait import DiskWait
from replication.log.block import Block
from replication.log.errors import LogRecycled
from services.pipeline.channel import Channel, ChannelClosed
from services.pipeline.pending_frames import PendingFrames
from services.pipeline.results_file import ResultsFile
from services.pipeline.sealed_block import SealedBlock
from services.pipeline.threaded_stage import ThreadedStage
from services.telemetry.conditions import Condition, Conditions
from services.telemetry.counters import Counter, Counters
from services.telemetry.telemetry import BlockTimes, Telemetry
from statestore.state_machine import StateMachine


class StateQuery:
    """A question about the state, answered between two blocks; the answer is a future."""

    __slots__ = ("answer", "ask")

    def __init__(self, ask: Callable[[StateMachine], Any]) -> None:
        """Take the answer from ``ask``, which the applier's thread calls with the state."""
        self.ask = ask
        self.answer: Future[Any] = Future()

    def refuse(self) -> None:
        """Answer with ChannelClosed, where somebody waits still."""
        if self.answer.set_running_or_notify_cancel():
            self.answer.set_exception(ChannelClosed())


class Applier(ThreadedStage):
    """The only writer of the state, and its only reader."""

    name = "applier"

    def __init__(
        self,
        state: StateMachine,
        results_file: ResultsFile,
        pending_frames: PendingFrames,
        counters: Counters,
        telemetry: Telemetry,
        conditions: Conditions,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Apply to ``state``, keep results in ``results_file`` and answer through ``pending_frames``."""
        super().__init__()
        # Blocks in the order of the log, and queries anywhere in between.
        self._channel: Channel[SealedBlock | StateQuery] = Channel()
        self._state = state
        self._results_file = results_file
        self._pending_frames = pending_frames
        self._counters = counters
        self._telemetry = telemetry
        self._clock = clock
        self._conditions = conditions
        self.disk_wait: Final = DiskWait(clock.monotonic_ns)
        """While results are written."""
        self._results: NDArray[np.uint8] = np.empty(BATCH_SIZE, np.uint8)

    @property
    def closed(self) -> bool:
        """Whether blocks and queries are refused."""
        return self._channel.closed

    def submit(self, item: SealedBlock | StateQuery) -> None:
        """Take the next committed block, or a query.

        Raises:
            ChannelClosed: the stage was stopped or has failed.
        """
        self._channel.put(item)

    def stop(self) -> None:
        """See `services.pipeline.stage`."""
        self._channel.close()

    def replay(self, block: Block) -> None:
        """Apply a block that the log held at start; nobody waits for its results. Called before the stage starts.

        Raises:
            LogRecycled: blocks that the state has not seen are no longer in the log.
        """
        if block.index > self._state.applied_index + 1:
            raise LogRecycled(self._state.applied_index + 1, block.index)
        self._advance(block)

    def _work(self) -> None:
        while (item := self._channel.take()) is not None:
            if isinstance(item, SealedBlock):
                try:
                    self._apply(item)
                finally:
                    item.release()
            else:
                self._answer(item)

    def _apply(self, sealed: SealedBlock) -> None:
        block = sealed.block
        assert block.index <= self._counters[Counter.COMMITTED_INDEX], "only what is committed is applied"
        results = self._advance(block)
        if SESSIONS_EXHAUSTED in results:  # one pass of memchr
            self._conditions.set(Condition.SESSIONS_EXHAUSTED)
        self._telemetry.observe_block(
            BlockTimes(
                block.index,
                block.first_position,
                block.count,
                block.payload_bytes,
                sealed.sealed_ns,
                sealed.durable_ns,
                self._clock.time_ns(),
            ),
            self._pending_frames.traceparents(sealed.frames),
        )
        self._pending_frames.complete(sealed.frames, block.index, block.first_position, results)

    def _advance(self, block: Block) -> bytes:
        """Carry the state over one block; returns its results."""
        assert block.index == self._state.applied_index + 1, "blocks are applied in order, each once"
        started_ns = self._clock.monotonic_ns()
        results = self._results[: block.count]
        self._state.apply(
            block.body, block.count, block.payload_bytes, block.first_position, block.time_ns, block.index, results
        )
        encoded = results.tobytes()
        with self.disk_wait:
            self._results_file.write(block.first_position, encoded)
        self._counters.add(Counter.BLOCKS_APPLIED)
        self._counters.add(Counter.TRANSACTIONS_APPLIED, block.count)
        self._counters.add(Counter.APPLY_NS, self._clock.monotonic_ns() - started_ns)
        self._counters.put(Counter.APPLIED_INDEX, block.index)
        self._counters.put(Counter.STATE_ENTRIES, self._state.entries)
        self._counters.put(Counter.STATE_SESSIONS, self._state.sessions)
        self._counters.put(Counter.STATE_BYTES, self._state.table_bytes)
        self._counters.put(Counter.STATE_SESSION_BYTES, self._state.session_bytes)
        return encoded

    def _answer(self, query: StateQuery) -> None:
        if not query.answer.set_running_or_notify_cancel():
            return
        try:
            query.answer.set_result(query.ask(self._state))
        except Exception as error:
            query.answer.set_exception(error)

    def _abandon(self) -> None:
        for item in self._channel.abort():
            if isinstance(item, SealedBlock):
                item.release()
            else:
                item.refuse()

    def _stop_next(self) -> None:
        """Do nothing: this is the last stage."""
