"""Reads blocks back out of a log that is being written, by mapping its segments."""

import mmap
import threading
import weakref
from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from replication.log.block import Block
from replication.log.errors import BlockInvalid, LogCorrupted, LogRecycled
from replication.log.segment import Segment


class SegmentIndex:
    """The segments of the log by the blocks they hold, and who is reading which. Safe to use from any thread."""

    def __init__(self, segments: list[Segment]) -> None:
        self._segments: Final = list(segments)
        self._mappings: weakref.WeakValueDictionary[int, mmap.mmap] = weakref.WeakValueDictionary()
        self._lock = threading.Lock()

    @property
    def first_index(self) -> int:
        """Index of the oldest block the log reaches back to."""
        return self._segments[0].first_index if self._segments else 1

    def add(self, segment: Segment) -> None:
        """Append the segment that is now written to."""
        with self._lock:
            self._segments.append(segment)

    def release_below(self, index: int) -> Iterator[tuple[Segment, bool]]:
        """Drop the segments that lie wholly below ``index``, never the last; yield each, and whether it is mapped."""
        while True:
            with self._lock:
                if len(self._segments) < 2 or self._segments[1].first_index > index:
                    return
                segment = self._segments.pop(0)
                mapped = segment.number in self._mappings
            yield segment, mapped

    def find(self, index: int, last_index: int) -> tuple[Segment, int, NDArray[np.uint8]]:
        """Return the segment that holds block ``index``, its own last block, and its bytes, read-only.

        ``last_index`` is the log's. The mapping lives as long as a view of it does. Raises :class:`LogRecycled`.
        """
        with self._lock:
            place = bisect_right(self._segments, index, key=lambda segment: segment.first_index)
            if place == 0:
                raise LogRecycled(index, self.first_index)
            if place < len(self._segments):
                last_index = self._segments[place].first_index - 1
            segment = self._segments[place - 1]
            mapping = self._mappings.get(segment.number)
            if mapping is None:
                with segment.path.open("rb") as file:
                    mapping = mmap.mmap(file.fileno(), segment.segment_bytes, prot=mmap.PROT_READ)
                self._mappings[segment.number] = mapping
            return segment, last_index, np.frombuffer(mapping, np.uint8)


def read_segment(segment: Segment, data: NDArray[np.uint8], from_index: int, to_index: int) -> Iterator[Block]:
    """Yield the verified blocks ``from_index`` to ``to_index``, all of which have been written to the segment.

    Raises :class:`LogCorrupted`.
    """
    start, offset = segment.nearest(from_index)
    for index in range(start, to_index + 1):
        try:
            block = Block.parse(data[offset:])
            assert block.index == index
            if index >= from_index:
                block.verify()
        except BlockInvalid as error:
            raise LogCorrupted(segment.path, offset, index, str(error)) from error
        if index >= from_index:
            yield block
        offset += block.stored_bytes
