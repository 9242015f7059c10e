"""Segment writer: the end of the log, where blocks are appended and synced, in room that was reserved for them.

A full disk must be noticed while a transaction can still be refused, that is, before it is sealed into a block. So the
sequencer reserves room for each block first, and segments are taken for what was reserved. Blocks fill segments in
order, each going into the next one where it no longer fits (next-fit). Next-fit is monotone: blocks no larger than
their reservations never need a later segment than was taken for them.
"""

import os
import threading
from collections import deque
from collections.abc import Sequence

import numpy as np

from pooling.buffers import Buffer, aligned_buffer
from replication.log.block import PAGE_BYTES, Block, padded
from replication.log.disk import Disk
from replication.log.format.header import VERSION_1
from replication.log.format.version_2 import stamp
from replication.log.segments.prepared_segment import PreparedSegment
from replication.log.segments.segment import Segment, segment_number
from replication.log.segments.segment_index import SegmentIndex
from replication.log.segments.segment_preallocator import SegmentPreallocator


class SegmentWriter:
    """The end of the log. One thread reserves, one writes, any syncs."""

    def __init__(
        self,
        index: SegmentIndex,
        preallocator: SegmentPreallocator,
        disk: Disk,
        cluster_id: int,
        log_id: int,
        segment_bytes: int,
    ) -> None:
        self._index, self._preallocator, self._disk = index, preallocator, disk
        self._cluster_id, self._log_id = cluster_id, log_id
        self._segment_bytes = segment_bytes
        self.durable_index = 0
        self._segment: Segment | None = None
        self._fd = -1
        self._end = 0
        self._room = 0
        self._reservations = 0
        self._header_page = aligned_buffer(PAGE_BYTES)
        self._stamped_pages: list[Buffer] = []
        self._reserved_segments: deque[PreparedSegment] = deque()
        self._reserving = threading.Lock()
        self._syncing = threading.Lock()

    def continue_in(self, segment: Segment, end: int, last_index: int) -> None:
        """Go on behind byte ``end`` of a segment that ends with block ``last_index``, after making that durable.

        Raises:
            OSError: the segment cannot be opened or synced.
        """
        assert self._fd < 0
        self._fd = self._disk.open(segment.path, os.O_RDWR)
        self._disk.sync(self._fd)
        self._segment, self._end = segment, end
        self.durable_index = last_index
        self._room = segment.segment_bytes - end

    def reserve(self, byte_count: int) -> None:
        """Set room aside for one block of at most ``byte_count`` bytes.

        Raises:
            LogFull: there is no room for another segment.
            LogBusy: the system is short of something else that it takes.
            LogFailed: preparing a segment failed otherwise.
            ValueError: the block is larger than a segment.
        """
        needed = padded(byte_count)
        if needed > self._segment_bytes - PAGE_BYTES:
            raise ValueError(
                f"a block of {needed} bytes does not fit into segments of {self._segment_bytes}: enlarge them"
            )
        with self._reserving:
            if needed > self._room:
                self._reserved_segments.append(self._preallocator.take())
                self._room = self._segment_bytes - PAGE_BYTES
            self._room -= needed
            self._reservations += 1

    def write(self, blocks: Sequence[Block]) -> None:
        """Write blocks that follow the last one; those without a reservation get one here.

        Raises:
            LogFull: there is no room for a block without a reservation; nothing has been written.
            LogBusy: the system is short of something else that such a block takes; nothing has been written.
            LogFailed: preparing a segment failed otherwise; nothing has been written.
            OSError: the disk failed.
        """
        for block in blocks[self._reservations :]:
            self.reserve(block.stored_bytes)
        with self._reserving:
            self._reservations -= len(blocks)
        run: list[Buffer] = []
        run_bytes = 0
        unused_pages = self._stamped_pages.copy()  # all that were used before have been written
        for block in blocks:
            size = block.stored_bytes
            if self._segment is None or self._end + run_bytes + size > self._segment.segment_bytes:
                self._write_run(run, run_bytes)
                run, run_bytes = [self._roll(block)], PAGE_BYTES
            assert self._segment is not None
            self._segment.add_offset(block.index, self._end + run_bytes)
            if block.log_id == self._log_id or block.version == VERSION_1:
                run.append(block.buffer[:size])
            else:
                run += self._stamped(block, unused_pages)
            run_bytes += size
        self._write_run(run, run_bytes)

    def sync(self, index: int) -> None:
        """Make durable what has been written up to block ``index``.

        Raises:
            OSError: the disk failed, and what it holds is unknown.
        """
        with self._syncing:
            if index > self.durable_index:
                self._disk.sync(self._fd)
                self.durable_index = index

    def close(self) -> None:
        """Close the file that is written to, and those set aside."""
        self._close_current()
        with self._reserving:
            while self._reserved_segments:
                self._disk.close(self._reserved_segments.pop().fd)

    def close_at(self, index: int) -> None:
        """Close all files, since what stands behind block ``index`` is about to be removed."""
        self.close()
        self.durable_index = min(self.durable_index, index)

    def _close_current(self) -> None:
        with self._syncing:
            if self._fd >= 0:
                self._disk.close(self._fd)
                self._fd = -1

    def _write_run(self, run: list[Buffer], run_bytes: int) -> None:
        if run:
            self._disk.write(self._fd, run, self._end)
            self._end += run_bytes

    def _stamped(self, block: Block, unused_pages: list[Buffer]) -> tuple[Buffer, Buffer]:
        """Return a block that was sealed for another log as this one writes it: with what *it* knows to be synced.

        Else recovery would take what another disk held for what this one did. Only the page that tells it is copied;
        the block may lie in memory that is not to be written.
        """
        if not unused_pages:
            unused_pages.append(aligned_buffer(PAGE_BYTES))
            self._stamped_pages.append(unused_pages[-1])
        page = unused_pages.pop()
        page[:] = block.buffer[:PAGE_BYTES]
        stamp(page, self._log_id, self.durable_index)
        return page, block.buffer[PAGE_BYTES : block.stored_bytes]

    def _roll(self, block: Block) -> Buffer:
        """Turn to the next segment, which ``block`` starts; return its header page, to be written before the block."""
        # Before anything goes into the next one: recovery takes a later segment as proof that this one was whole.
        self.sync(block.index - 1)
        self._close_current()
        with self._reserving:
            path, fd = self._reserved_segments.popleft()
        self._segment = Segment(
            path,
            self._cluster_id,
            segment_number(path),
            block.index,
            block.first_position,
            self._segment_bytes,
        )
        self._fd, self._end = fd, 0
        self._index.add(self._segment)
        # One page for all: it has been written before the next segment is turned to.
        self._header_page[:] = np.frombuffer(self._segment.header_page(), np.uint8)
        return self._header_page
