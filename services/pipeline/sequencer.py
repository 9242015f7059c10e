"""Stage 1, the ring's exclusive consumer: gives every transaction its place and seals blocks."""

import time
from typing import Final

import numpy as np

from penstock.contract.limits import BATCH_SIZE
from penstock.contract.reasons import Reason
from pooling.buffers import Buffer
from pooling.core.errors import PoolExhausted
from pooling.core.object_pool import ObjectPool
from replication.log.block import HEADER_BYTES, Block, stored_bytes
from replication.log.errors import LogFull
from replication.log.write_ahead_log import WriteAheadLog
from services.pipeline.channel import Channel, ChannelClosed
from services.pipeline.pending_frames import PendingFrames
from services.pipeline.sealed_block import SealedBlock
from services.refusal import Refusal
from services.telemetry.counters import Counter, Counters
from txqueue.queue import LockFreeTxQueue

_IDLE_WAIT_S: Final = 0.25
"""How long the sequencer parks before it looks whether it should stop."""


class Sequencer:
    """Drains the ring into pooled buffers and seals them as the log's next blocks.

    Waits while the ring is empty, and while all buffers are under way in later stages: their number is the pipeline's
    bound.
    """

    def __init__(
        self,
        queue: LockFreeTxQueue,
        buffers: ObjectPool[Buffer],
        log: WriteAheadLog,
        pending_frames: PendingFrames,
        counters: Counters,
        outbox: Channel[SealedBlock],
        *,
        cluster_id: int,
        epoch: int,
    ) -> None:
        self._queue = queue
        self._buffers = buffers
        self._log = log
        self._pending_frames = pending_frames
        self._counters = counters
        self._outbox = outbox
        self._cluster_id = cluster_id
        self._epoch = epoch
        self._index = log.last_index
        self._position = log.last_position
        self._hash = log.last_hash
        self._time_ns = log.last_time_ns
        self._stopping = False

    def stop(self) -> None:
        """Seal what is in the ring, then end. Nothing may be admitted any more."""
        self._stopping = True
        self._queue.wake()

    def run(self) -> None:
        """Seal blocks until stopped, then pass the end on to the next stage."""
        frames = np.empty((BATCH_SIZE, 4), np.uint64)
        try:
            while True:
                if self._queue.wait(_IDLE_WAIT_S):
                    self._seal(frames)
                    self._queue.rebalance_if_needed()
                elif self._stopping:
                    break
        finally:
            self._outbox.close()

    def _borrow(self) -> Buffer:
        """Wait for a buffer; raises ChannelClosed where none will come, since the next stage has failed with them."""
        while True:
            try:
                return self._buffers.borrow_object(_IDLE_WAIT_S)
            except PoolExhausted:
                if self._outbox.closed:
                    raise ChannelClosed from None

    def _seal(self, frames: np.ndarray[tuple[int, int], np.dtype[np.uint64]]) -> None:
        buffer = self._borrow()
        batch = self._queue.dequeue_exclusive_batch(buffer[HEADER_BYTES:], frames)
        if not batch.count:
            self._buffers.return_object(buffer)
            return
        sealed_frames = frames[: batch.frames].copy()
        try:
            self._log.reserve(stored_bytes(batch.count, batch.payload_bytes))
        except LogFull:
            self._buffers.return_object(buffer)
            self._pending_frames.refuse(sealed_frames, Refusal(Reason.LOG_FULL))
            return
        started_ns = time.monotonic_ns()
        # Block time never goes back, whatever the wall clock does between two blocks or two starts.
        self._time_ns = max(self._time_ns + 1, time.time_ns())
        block = Block.seal(
            buffer,
            cluster_id=self._cluster_id,
            epoch=self._epoch,
            index=self._index + 1,
            first_position=self._position,
            count=batch.count,
            payload_bytes=batch.payload_bytes,
            time_ns=self._time_ns,
            previous_hash=self._hash,
            durable_index=self._log.durable_index,
        )
        self._index, self._position, self._hash = block.index, block.next_position, block.hash
        self._outbox.put(SealedBlock(block, buffer, sealed_frames, time.time_ns()))
        self._counters.add(Counter.BLOCKS_SEALED)
        self._counters.add(Counter.TRANSACTIONS_SEALED, block.count)
        self._counters.add(Counter.SEAL_NS, time.monotonic_ns() - started_ns)
        self._counters.put(Counter.SEALED_INDEX, block.index)
