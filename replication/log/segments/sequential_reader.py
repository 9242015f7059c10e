"""Sequential reader: a segment from front to back through one buffer, past the page cache.

For a pass over the whole log this is several times faster than faulting a mapping in, and leaves the cache to others.
"""

import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from pooling.buffers import aligned_buffer
from replication.log.block import BLOCK_BYTES_MAX, PAGE_BYTES, Block, ChainTip, stated_bytes
from replication.log.disk import Disk
from replication.log.errors import BlockInvalid, BlockUnsupported, LogVersionUnsupported
from replication.log.segments.segment import Segment

_WINDOW_BYTES: Final = 8 << 20
assert _WINDOW_BYTES >= BLOCK_BYTES_MAX


class SequentialReader:
    """A view of some consecutive megabytes of one file at a time. A context manager that closes it."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._buffer = aligned_buffer(_WINDOW_BYTES)
        self._fd = -1

    def open(self, path: Path) -> None:
        """Turn to another file.

        Raises:
            OSError: the file cannot be opened.
        """
        self.close()
        self._fd = self._disk.open(path, os.O_RDONLY)
        self.file_bytes = os.fstat(self._fd).st_size
        self._start = self._filled = 0

    def close(self) -> None:
        """Close the file, if any is open."""
        if self._fd >= 0:
            self._disk.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def at(self, offset: int, byte_count: int = PAGE_BYTES) -> NDArray[np.uint8]:
        """Return the file from page-aligned ``offset`` on: ``byte_count`` bytes, or more as they happen to be there.

        Fewer only where the file ends. The view holds until the next call.

        Raises:
            OSError: the file cannot be read.
        """
        assert self._fd >= 0
        assert offset % PAGE_BYTES == 0
        assert byte_count <= _WINDOW_BYTES
        if not self._start <= offset <= offset + byte_count <= self._start + self._filled:
            self._start = offset
            self._filled = self._disk.read(self._fd, self._buffer, offset)
        return self._buffer[offset - self._start : self._filled]

    def next_block(self, segment: Segment, offset: int, tip: ChainTip) -> Block:
        """Return the block at ``offset`` of the open file, verified, if it follows ``tip``; a view as of :meth:`at`.

        Raises:
            BlockInvalid: no whole block stands there, or not the one that follows.
            LogVersionUnsupported: the block is in a newer format.
            OSError: the file cannot be read.
        """
        left = segment.segment_bytes - offset
        try:
            block = Block.parse(self.at(offset, min(stated_bytes(self.at(offset)), left))[:left])
        except BlockUnsupported as error:
            raise LogVersionUnsupported(segment.path, error.what) from error
        if block.cluster_id != segment.cluster_id:
            raise BlockInvalid(f"the block is cluster {block.cluster_id:016x}'s")
        if block.index != tip.index + 1:
            raise BlockInvalid(f"block {block.index} of an earlier use of this space stands here")
        if not tip.is_followed_by(block):
            raise BlockInvalid("the block does not follow the one before it")
        block.verify()
        return block
