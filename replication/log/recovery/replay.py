"""Replay: the blocks of a log from the front, or from a block on, each verified before it is given."""

import itertools
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from replication.log.block import EMPTY_CHAIN, PAGE_BYTES, Block, ChainTip
from replication.log.disk import Disk
from replication.log.errors import BlockInvalid, LogCorrupted
from replication.log.segments.segment import Segment
from replication.log.segments.sequential_reader import SequentialReader


def read_blocks(
    segments: Sequence[Segment],
    to_index: int,
    disk: Disk,
    from_index: int = 0,
) -> Iterator[Block]:
    """Yield the blocks of the log from its first, or ``from_index``, to ``to_index``, verified; all have been written.

    It goes straight to the segment that holds ``from_index``; of that, the blocks before it are read and verified, too.

    Each is a view of a buffer that the next step overwrites.

    Raises:
        LogCorrupted: a block is damaged or missing.
        LogVersionUnsupported: a block is in a newer format.
        OSError: a file cannot be read.
    """
    segments = segments[max(0, bisect_right(segments, from_index, key=lambda segment: segment.first_index) - 1) :]
    if not segments:
        return
    tip = tip_before(segments[0])
    with SequentialReader(disk) as reader:
        for segment, following in itertools.zip_longest(segments, segments[1:]):
            last_index = to_index if following is None else min(to_index, following.first_index - 1)
            if tip.index >= to_index:
                return
            reader.open(segment.path)
            offset = PAGE_BYTES
            while tip.index < last_index:
                try:
                    block = reader.next_block(segment, offset, tip)
                except BlockInvalid as error:
                    raise LogCorrupted(segment.path, offset, tip.index + 1, str(error)) from error
                segment.add_offset(block.index, offset)
                offset += block.stored_bytes
                tip = ChainTip.of(block)
                if block.index >= from_index:
                    yield block


def tip_before(segment: Segment) -> ChainTip:
    """Return what the segment's first block has to follow, as its header tells: all but the hash, unless it is none."""
    if segment.first_index == 1:
        return EMPTY_CHAIN
    return ChainTip(segment.first_index - 1, segment.first_position, None, 0)
