"""Log view: a log as somebody sees it who does not write it, beside a node that does or without one.

Nothing is locked and nothing is changed. Of a log that nobody has open all is seen that recovery finds; of one in use,
what was known to be durable when the view was made: a node raises the durable watermark about once a second. Behind it
blocks appear while they are looked for. Before it, segments may be given up meanwhile, and the view then goes on where
the log begins.
"""

import itertools
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from replication.log.block import Block
from replication.log.directory.directory_lock import holder_of
from replication.log.directory.durable_watermark import read_durable_watermark
from replication.log.directory.log_beginning import read_beginning
from replication.log.directory.log_metadata import read_metadata
from replication.log.disk import Disk
from replication.log.errors import LogCorrupted, LogMissing
from replication.log.recovery.recovery import TornTail, recover
from replication.log.recovery.replay import read_blocks
from replication.log.segments.segment import Segment
from replication.log.segments.segment_discovery import find_segments

_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class LogView:
    """What is seen of a log."""

    directory: Path
    cluster_id: int
    segments: list[Segment]
    """Those that hold blocks up to `last_index`."""
    prepared: int
    """Segments that wait to be used."""
    last_index: int
    """Index of the last block seen; 0 where there is none."""
    watermark: int
    """Index of the last block that the log's watermark says to be durable."""
    holder: str | None
    """Who has the log open, as far as it is known; ``None`` where nobody has."""
    torn_tail: TornTail | None
    """What the next start will cut off."""

    @classmethod
    def of(cls, directory: Path) -> Self:
        """Look at the log in ``directory``.

        Raises:
            LogMissing: the directory holds no log.
            LogCorrupted: its end is damaged, or a segment is missing.
            LogForeign: a segment is another cluster's.
            LogVersionUnsupported: it is in a newer format.
            OSError: a file cannot be read.
        """
        metadata = read_metadata(directory)
        if metadata is None:
            raise LogMissing(directory)
        for tries_left in reversed(range(_TRIES)):
            holder = holder_of(directory)
            try:
                return cls._look(directory, metadata.cluster_id, holder)
            except (LogCorrupted, FileNotFoundError):
                # What a node does meanwhile, starting or giving up segments, looks like damage.
                if not tries_left or (holder is None and holder_of(directory) is None):
                    raise
        raise AssertionError("the last try returns or raises")

    @classmethod
    def _look(cls, directory: Path, cluster_id: int, holder: str | None) -> Self:
        disk = Disk()
        if holder is None:
            log = recover(directory, cluster_id, disk)
            watermark = read_durable_watermark(directory, cluster_id)
            last_index, torn_tail = log.tip.index, log.torn_tail
            return cls(directory, cluster_id, log.segments, len(log.unused), last_index, watermark, None, torn_tail)
        watermark = read_durable_watermark(directory, cluster_id)
        found = find_segments(directory, cluster_id, disk)
        segments = [segment for segment in found.used if segment.first_index <= watermark]
        return cls(directory, cluster_id, segments, len(found.unused), watermark, watermark, holder, None)

    @property
    def first_index(self) -> int:
        """Index of the first block seen; 1 for an empty log."""
        return self.segments[0].first_index if self.segments else 1

    @property
    def first_position(self) -> int:
        """Number of the first transaction seen."""
        return self.segments[0].first_position if self.segments else 0

    def blocks(self, from_index: int = 0, to_index: int | None = None) -> Iterator[Block]:
        """Yield the blocks from ``from_index`` to ``to_index``, by default the last, verified.

        It goes straight to the segment that holds the first of them. Each block is a view of a buffer that the next
        step overwrites.

        Raises:
            LogCorrupted: a block is damaged or missing.
            LogVersionUnsupported: a block is in a newer format.
            OSError: a file cannot be read.
        """
        to_index = self.last_index if to_index is None else min(to_index, self.last_index)
        segments, next_index = self.segments, max(from_index, self.first_index)
        while next_index <= to_index:
            try:
                for block in read_blocks(segments, to_index, Disk(), next_index):
                    yield block
                    next_index = block.index + 1
            except (LogCorrupted, FileNotFoundError):
                beginning = read_beginning(self.directory, self.cluster_id)
                if beginning.first_index <= next_index:
                    raise
                next_index = beginning.first_index
                segments = [segment for segment in segments if segment.number >= beginning.segment_number]
            else:
                return

    def index_at_or_before(self, position: int) -> int:
        """Return the first index of the segment that holds transaction number ``position``, or would."""
        place = bisect_right(self.segments, position, key=lambda segment: segment.first_position)
        return self.segments[max(0, place - 1)].first_index if self.segments else 1

    def block_at(self, position: int) -> Block | None:
        """Return the block that holds transaction number ``position``; ``None`` where none does."""
        blocks = self.blocks(self.index_at_or_before(position))
        behind = itertools.dropwhile(lambda block: block.next_position <= position, blocks)
        block = next(behind, None)
        return block if block is not None and block.first_position <= position else None
