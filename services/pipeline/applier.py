"""Stage 3: applies durable blocks to the state, and answers those who sent them.

Reads come through the same inbox as blocks. They are served between two blocks by the thread that writes the state,
so a read sees all blocks up to one log index and none after it, however many entries it asks for, and whoever has had
an answer to a transaction reads its effect.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penstock.contract.limits import BATCH_SIZE
from pooling.buffers import Buffer
from pooling.core.object_pool import ObjectPool
from replication.log.block import Block
from services.pipeline.channel import Channel, ChannelClosed
from services.pipeline.pending_frames import PendingFrames
from services.pipeline.results_file import ResultsFile
from services.pipeline.sealed_block import SealedBlock
from services.telemetry.counters import Counter, Counters
from services.telemetry.telemetry import BlockTimes, Telemetry
from statestore.state_machine import StateMachine


class StateQuery:
    """Something to ask of the state between two blocks; its answer is a future."""

    __slots__ = ("answer", "ask")

    def __init__(self, ask: Callable[[StateMachine], Any]) -> None:
        self.ask = ask
        self.answer: Future[Any] = Future()


class Applier:
    """The only writer of the state, and its only reader."""

    def __init__(
        self,
        state: StateMachine,
        results_file: ResultsFile,
        buffers: ObjectPool[Buffer],
        pending_frames: PendingFrames,
        counters: Counters,
        telemetry: Telemetry,
    ) -> None:
        """Apply to ``state``, keep results in ``results_log`` and answer through ``receipts``."""
        self.channel: Channel[SealedBlock | StateQuery] = Channel()
        """Blocks in the order of the log, and questions anywhere in between."""
        self._state = state
        self._results_file = results_file
        self._buffers = buffers
        self._pending_frames = pending_frames
        self._counters = counters
        self._telemetry = telemetry
        self._results: NDArray[np.uint8] = np.empty(BATCH_SIZE, np.uint8)

    def run(self) -> None:
        """Apply blocks and answer questions until the end comes; questions that come later raise ChannelClosed."""
        try:
            while (item := self.channel.get()) is not None:
                if isinstance(item, SealedBlock):
                    self._apply(item)
                else:
                    self._answer(item)
        finally:
            self.channel.close()
            for item in self.channel.rest():
                if isinstance(item, StateQuery):
                    item.answer.set_exception(ChannelClosed())

    def replay(self, block: Block) -> None:
        """Apply a block that the log held at start; nobody waits for its results."""
        self._advance(block)

    def _apply(self, batch: SealedBlock) -> None:
        block = batch.block
        results = self._advance(block)
        self._telemetry.observe_block(
            BlockTimes(
                block.index,
                block.first_position,
                block.count,
                block.payload_bytes,
                batch.sealed_ns,
                batch.durable_ns,
                time.time_ns(),
            ),
            self._pending_frames.traceparents(batch.frames),
        )
        self._pending_frames.complete(batch.frames, block.index, block.first_position, results)
        # The block's views end here: the buffer is the next block's from now on.
        self._buffers.return_object(batch.buffer)

    def _advance(self, block: Block) -> bytes:
        """Carry the state over one block; returns its results."""
        assert block.index == self._state.applied_index + 1, "blocks are applied in order, each once"
        started_ns = time.monotonic_ns()
        results = self._results[: block.count]
        self._state.apply(
            block.body, block.count, block.payload_bytes, block.first_position, block.time_ns, block.index, results
        )
        encoded = results.tobytes()
        self._results_file.write(block.first_position, encoded)
        self._counters.add(Counter.BLOCKS_APPLIED)
        self._counters.add(Counter.TRANSACTIONS_APPLIED, block.count)
        self._counters.add(Counter.APPLY_NS, time.monotonic_ns() - started_ns)
        self._counters.put(Counter.APPLIED_INDEX, block.index)
        self._counters.put(Counter.STATE_ENTRIES, self._state.entries)
        self._counters.put(Counter.STATE_SESSIONS, self._state.sessions)
        self._counters.put(Counter.STATE_BYTES, self._state.table_bytes)
        self._counters.put(Counter.STATE_SESSION_BYTES, self._state.session_bytes)
        return encoded

    def _answer(self, question: StateQuery) -> None:
        if not question.answer.set_running_or_notify_cancel():
            return
        try:
            question.answer.set_result(question.ask(self._state))
        except Exception as error:
            question.answer.set_exception(error)
