"""Stage 1, the sequencer: the ring's one consumer, which numbers every transaction and seals blocks."""

from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from penstock.contract.limits import BATCH_SIZE
from penstock.contract.reasons import Reason
from penstock.host.clock import SYSTEM_CLOCK, Clock
from penstock.host.disk_wait import DiskWait
from pooling.buffers import Buffer
from pooling.core.errors import PoolExhausted
from replication.log.ballot import Ballot
from replication.log.block import BLOCK_BYTES_MAX, HEADER_BYTES, Block, stored_bytes
from replication.log.errors import LogBusy, LogFull
from services.pipeline.block_clock import BlockClock
from services.pipeline.channel import ChannelClosed
from services.pipeline.pending_frames import PendingFrames
from services.pipeline.sealed_block import BufferPool, SealedBlock
from services.pipeline.stage import Intake
from services.pipeline.threaded_stage import ThreadedStage
from services.refusal import Refusal
from services.telemetry.conditions import Condition, Conditions
from services.telemetry.counters import Counter, Counters
from txqueue.queue import Batch

_WAIT_S: Final = 0.25
"""How long the sequencer waits for frames or for a buffer before it looks whether it should end."""
_SHORTAGES: Final = (Condition.DISK_FULL, Condition.LOG_BUSY)

FrameRows = np.ndarray[tuple[int, int], np.dtype[np.uint64]]
"""uint64[n, 4]: rows of (token, first record in the block, records, payload bytes)."""


class FrameQueue(Protocol):
    """What the sequencer needs of the ring: `txqueue.queue.LockFreeTxQueue` in a node."""

    def wait(self, timeout_s: float, /) -> bool:
        """Wait for a frame, a wake or the time-out; returns whether a frame is there."""

    def wake(self) -> None:
        """Make the wait return."""

    def dequeue_exclusive_batch(self, body: NDArray[np.uint8], frames: FrameRows, /) -> Batch:
        """Take whole frames, as many as fit."""

    def rebalance_if_needed(self) -> int:
        """Adapt the size of batches to what waits."""


class ReservableLog(Protocol):
    """What the sequencer needs of the log: `replication.log.write_ahead_log.WriteAheadLog` in a node."""

    @property
    def log_id(self) -> int:
        """Identity of the log on this disk."""

    @property
    def last_index(self) -> int:
        """Index of the last block appended."""

    @property
    def last_position(self) -> int:
        """Number of the next transaction."""

    @property
    def last_hash(self) -> bytes:
        """Hash of the last block appended."""

    @property
    def durable_index(self) -> int:
        """Highest index known to be synced."""

    def reserve(self, byte_count: int, /) -> None:
        """Set room aside for one block.

        Raises:
            LogFull: the disk has no room.
            LogBusy: the system is short of something else that the log needs.
            LogFailed: nothing more can be written.
        """


class ReservableResults(Protocol):
    """What the sequencer needs of the results file: `services.pipeline.results_file.ResultsFile` in a node."""

    def reserve(self, first_position: int, count: int, /) -> None:
        """Set room aside for the results of one block.

        Raises:
            LogFull: the disk has no room.
            LogBusy: the system is short of something else.
        """


class Sequencer(ThreadedStage):
    """Drains the ring into pooled buffers and seals them as the log's next blocks.

    Waits while the ring is empty, and while all buffers are under way in later stages: their number is the pipeline's
    bound.
    """

    name = "sequencer"

    def __init__(
        self,
        queue: FrameQueue,
        buffers: BufferPool,
        log: ReservableLog,
        results_file: ReservableResults,
        pending_frames: PendingFrames,
        counters: Counters,
        log_writer: Intake[SealedBlock],
        *,
        cluster_id: int,
        ballot: Ballot,
        block_clock: BlockClock,
        conditions: Conditions,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Seal what comes through ``queue`` behind the last block of ``log``, for ``log_writer``.

        Each block's room in ``log`` and its results' in ``results_file`` are reserved before it gets a number.
        """
        super().__init__()
        self._queue = queue
        self._buffers = buffers
        self._log = log
        self._results_file = results_file
        self._pending_frames = pending_frames
        self._counters = counters
        self._log_writer = log_writer
        self._cluster_id = cluster_id
        self._ballot = ballot
        self._clock = clock
        self._conditions = conditions
        self.disk_wait: Final = DiskWait(clock.monotonic_ns)
        """While room is reserved, which waits where a segment is being prepared."""
        self._index = log.last_index
        self._position = log.last_position
        self._hash = log.last_hash
        self._block_clock = block_clock
        self._is_short = False
        self._has_room = False
        self._stopping = False
        self._abandoned = False
        counters.put(Counter.SEALED_INDEX, self._index)

    @property
    def closed(self) -> bool:
        """Whether no more frames may be published: they may be left in the ring."""
        return self._stopping or self._abandoned

    def stop(self) -> None:
        """See `services.pipeline.stage`: what is in the ring is sealed. Nothing may be published any more."""
        self._stopping = True
        self._queue.wake()

    def _work(self) -> None:
        frames: FrameRows = np.empty((BATCH_SIZE, 4), np.uint64)
        while not self._abandoned:
            if self._queue.wait(_WAIT_S):
                self._seal_next(frames)
                self._queue.rebalance_if_needed()
            elif self._stopping:
                return
            elif self._is_short:
                self._look_for_room()

    def _seal_next(self, frames: FrameRows) -> None:
        buffer = self._borrow()
        try:
            sealed = self._seal(buffer, frames)
        except BaseException:
            self._buffers.return_object(buffer)
            raise
        if sealed is None:
            self._buffers.return_object(buffer)
            return
        try:
            self._log_writer.submit(sealed)
        except ChannelClosed:
            sealed.release()
            raise

    def _borrow(self) -> Buffer:
        """Wait for a buffer.

        Raises:
            ChannelClosed: nobody would take the block, since a stage has failed.
        """
        while not (self._abandoned or self._log_writer.closed):
            try:
                return self._buffers.borrow_object(_WAIT_S)
            except PoolExhausted:
                continue
        raise ChannelClosed

    def _seal(self, buffer: Buffer, frames: FrameRows) -> SealedBlock | None:
        """Make the next block of what waits; None where there is nothing, or no room for it in the log."""
        batch = self._queue.dequeue_exclusive_batch(buffer[HEADER_BYTES:], frames)
        if not batch.count:
            return None
        sealed_frames = frames[: batch.frames].copy()
        shortage = self._reserve(batch.count, stored_bytes(batch.count, batch.payload_bytes))
        if shortage is not None:
            self._pending_frames.refuse(sealed_frames, Refusal(shortage))
            return None
        started_ns = self._clock.monotonic_ns()
        block = Block.seal(
            buffer,
            cluster_id=self._cluster_id,
            ballot=self._ballot,
            index=self._index + 1,
            first_position=self._position,
            count=batch.count,
            payload_bytes=batch.payload_bytes,
            time_ns=self._block_clock.next_ns(),
            previous_hash=self._hash,
            log_id=self._log.log_id,
            durable_index=self._log.durable_index,
        )
        self._index, self._position, self._hash = block.index, block.next_position, block.hash
        self._counters.add(Counter.BLOCKS_SEALED)
        self._counters.add(Counter.TRANSACTIONS_SEALED, block.count)
        self._counters.add(Counter.SEAL_NS, self._clock.monotonic_ns() - started_ns)
        self._counters.put(Counter.SEALED_INDEX, block.index)
        return SealedBlock(block, buffer, self._buffers, sealed_frames, self._clock.time_ns())

    def _reserve(self, count: int, byte_count: int) -> Reason | None:
        """Set room aside for one block and its results; return why frames have to be refused, if there is none."""
        if self._has_room:
            self._has_room = False
            return None
        try:
            with self.disk_wait:
                self._results_file.reserve(self._position, count)
                self._log.reserve(byte_count)
        except LogFull as error:
            return self._run_short(Condition.DISK_FULL, str(error), Reason.LOG_FULL)
        except LogBusy as error:
            return self._run_short(Condition.LOG_BUSY, str(error), Reason.LOG_BUSY)
        if self._is_short:
            self._is_short = False
            for condition in _SHORTAGES:
                self._conditions.clear(condition)
        return None

    def _run_short(self, met: Condition, detail: str, reason: Reason) -> Reason:
        self._is_short = True
        for condition in _SHORTAGES:
            if condition is not met:
                self._conditions.clear(condition)
        self._conditions.set(met, detail)
        return reason

    def _look_for_room(self) -> None:
        """Find out whether a shortage has passed, though no frame comes: none does where a balancer goes by health.

        What is reserved is the next block's, whatever its size.
        """
        self._has_room = self._reserve(BATCH_SIZE, BLOCK_BYTES_MAX) is None

    def _abandon(self) -> None:
        self._abandoned = True  # its thread looks at least every `_WAIT_S`

    def _stop_next(self) -> None:
        self._log_writer.stop()
