"""Segment index: the segments of the log by the blocks they hold, for reading it while it is being written.

Blocks are read out of mapped segments. All who read a segment share a mapping, which lives as long as a view of it.
"""

import mmap
import threading
import weakref
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from replication.log.block import Block
from replication.log.errors import BlockInvalid, BlockUnsupported, LogCorrupted, LogRecycled, LogVersionUnsupported
from replication.log.segments.segment import Segment
from replication.log.shortage import shortages_told


class MappedRun(NamedTuple):
    """Consecutive blocks in one mapped segment."""

    segment: Segment
    to_index: int
    """Index of the last of them."""
    data: NDArray[np.uint8]
    """The whole segment, read-only."""


class SegmentIndex:
    """The segments of the log, and who is reading which. Safe to use from any thread."""

    def __init__(self, segments: Sequence[Segment], last_index: int) -> None:
        self._segments = list(segments)
        self.last_index = last_index
        """Index of the last block that can be read; the log raises it as it appends."""
        self.truncations = 0
        """How often the log has been truncated since it was opened."""
        self._mappings: weakref.WeakValueDictionary[int, mmap.mmap] = weakref.WeakValueDictionary()
        self._lock = threading.Lock()

    @property
    def segments(self) -> list[Segment]:
        """The segments in use, in order; a copy."""
        with self._lock:
            return list(self._segments)

    @property
    def first_index(self) -> int:
        """Index of the oldest block the log reaches back to; 1 where there is none."""
        return self._segments[0].first_index if self._segments else 1

    def add(self, segment: Segment) -> None:
        """Append the segment that is now written to."""
        with self._lock:
            self._segments.append(segment)

    def first_kept(self, index: int) -> Segment | None:
        """Return the segment that the log begins with once those wholly below ``index`` are dropped."""
        with self._lock:
            place = bisect_right(self._segments, index, key=lambda segment: segment.first_index)
            return self._segments[max(0, place - 1)] if self._segments else None

    def release_below(self, index: int) -> Iterator[tuple[Segment, bool]]:
        """Drop the segments that lie wholly below ``index``, never the last; yield each, and whether it is mapped."""
        while True:
            with self._lock:
                if len(self._segments) < 2 or self._segments[1].first_index > index:
                    return
                segment = self._segments.pop(0)
                mapped = segment.number in self._mappings
            yield segment, mapped

    def truncate_after(self, index: int) -> list[Segment]:
        """Drop all blocks behind ``index``; return the segments that hold no other blocks."""
        with self._lock:
            count = bisect_right(self._segments, index, key=lambda segment: segment.first_index)
            kept, removed = self._segments[:count], self._segments[count:]
            self._segments = [*kept[:-1], *(segment.cut_after(index) for segment in kept[-1:])]
            self.last_index = index
            self.truncations += 1
            for segment in removed:
                self._mappings.pop(segment.number, None)
            return removed

    def drop_mapping(self, number: int) -> None:
        """Map a segment anew when it is read next, since another file has taken its place."""
        with self._lock:
            self._mappings.pop(number, None)

    def find(self, index: int) -> MappedRun | None:
        """Return the readable blocks from ``index`` to the end of the segment that holds it; ``None`` behind the last.

        Raises:
            LogRecycled: the block is older than the log reaches back.
            LogBusy: the system is short of what mapping a segment takes.
            OSError: the segment cannot be mapped.
        """
        with self._lock:
            if index > self.last_index:
                return None
            place = bisect_right(self._segments, index, key=lambda segment: segment.first_index)
            if place == 0:
                raise LogRecycled(index, self.first_index)
            last = place == len(self._segments)
            to_index = self.last_index if last else min(self.last_index, self._segments[place].first_index - 1)
            segment = self._segments[place - 1]
            mapping = self._mappings.get(segment.number)
            if mapping is None:
                mapping = _map(segment)
                self._mappings[segment.number] = mapping
            return MappedRun(segment, to_index, np.frombuffer(mapping, np.uint8))


def _map(segment: Segment) -> mmap.mmap:
    with shortages_told(segment.path.parent, 0), segment.path.open("rb") as file:
        return mmap.mmap(file.fileno(), segment.segment_bytes, prot=mmap.PROT_READ)


def read_mapped(run: MappedRun, from_index: int) -> Iterator[tuple[int, Block]]:
    """Yield offset and block, verified, of the blocks from ``from_index`` to the end of the run.

    Raises:
        LogCorrupted: a block is damaged.
        LogVersionUnsupported: a block is in a newer format.
    """
    start, offset = run.segment.offset_at_or_before(from_index)
    for index in range(start, run.to_index + 1):
        try:
            block = Block.parse(run.data[offset:])
            assert block.index == index
            if index >= from_index:
                block.verify()
        except BlockInvalid as error:
            raise LogCorrupted(run.segment.path, offset, index, str(error)) from error
        except BlockUnsupported as error:
            raise LogVersionUnsupported(run.segment.path, error.what) from error
        run.segment.add_offset(index, offset)
        if index >= from_index:
            yield offset, block
        offset += block.stored_bytes
