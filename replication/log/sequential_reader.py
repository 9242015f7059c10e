"""Sequential reader: a segment from front to back, past the page cache, the next bytes read while these are worked on.

For a pass over the whole log this is several times faster than faulting a mapping in, and leaves the cache to others.
Two buffers take turns. A block that reaches over the end of one is carried in front of the other's bytes, so that each
block is seen in one piece and every byte is read once.
"""

import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from penstock.host.executor import Executor, Running
from pooling.buffers import aligned_buffer
from replication.log.block import BLOCK_BYTES_MAX, BLOCK_VERSION, PAGE_BYTES, Block, ChainTip, stated_bytes
from replication.log.disk import Disk
from replication.log.errors import BlockInvalid, BlockVersionUnsupported, LogVersionUnsupported
from replication.log.segment import Segment

_WINDOW_BYTES: Final = 8 << 20
_CARRY_BYTES: Final = BLOCK_BYTES_MAX
assert _WINDOW_BYTES >= BLOCK_BYTES_MAX


class SequentialReader:
    """A view of some consecutive megabytes of one file at a time. A context manager that closes it."""

    def __init__(self, disk: Disk, executor: Executor) -> None:
        self._disk, self._executor = disk, executor
        self._current, self._next = (aligned_buffer(_CARRY_BYTES + _WINDOW_BYTES) for _ in range(2))
        self._view = self._current[:0]
        self._fd = -1
        self._reading: Running | None = None
        self._read_error: OSError | None = None
        self._next_bytes = 0

    def open(self, path: Path, content: NDArray[np.uint8] | None = None) -> None:
        """Turn to another file, and begin to read it; or use its ``content``, where that has been read before."""
        self.close()
        self._start = 0
        if content is not None:
            self._view = content
            self._read_from = self.file_bytes = content.size
            return
        self._fd = self._disk.open(path, os.O_RDONLY)
        self.file_bytes = os.fstat(self._fd).st_size
        self._read_from = 0
        self._read_ahead()

    def close(self) -> None:
        """Close the file, if any is open."""
        self._view = self._current[:0]
        if self._reading is not None:
            self._reading.join()
            self._reading = self._read_error = None
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

        Fewer only where the file ends. Offsets never go back below what an earlier call asked for. The view holds until
        the next call.

        Raises:
            OSError: the file cannot be read.
        """
        assert offset % PAGE_BYTES == 0
        assert byte_count <= BLOCK_BYTES_MAX
        assert offset >= self._start
        while offset + byte_count > self._start + self._view.size and self._reading is not None:
            self._turn(offset)
        return self._view[offset - self._start :]

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
        except BlockVersionUnsupported as error:
            raise LogVersionUnsupported(segment.path, error.found, BLOCK_VERSION) from error
        if block.cluster_id != segment.cluster_id:
            raise BlockInvalid(f"the block is cluster {block.cluster_id:016x}'s")
        if block.index != tip.index + 1:
            raise BlockInvalid(f"block {block.index} of an earlier use of this space stands here")
        if not tip.is_followed_by(block):
            raise BlockInvalid("the block does not follow the one before it")
        block.verify()
        return block

    def _turn(self, offset: int) -> None:
        """Go on to the bytes that were read ahead, with what is left from ``offset`` on carried in front of them."""
        assert self._reading is not None
        self._reading.join()
        self._reading = None
        if self._read_error is not None:
            raise self._read_error
        carried = self._view[offset - self._start :] if offset - self._start < self._view.size else self._view[:0]
        first = _CARRY_BYTES - carried.size
        self._next[first:_CARRY_BYTES] = carried
        self._view = self._next[first : _CARRY_BYTES + self._next_bytes]
        self._start = self._read_from - carried.size
        self._current, self._next = self._next, self._current
        self._read_from += self._next_bytes
        if self._next_bytes:
            self._read_ahead()

    def _read_ahead(self) -> None:
        if self._read_from < self.file_bytes:
            self._reading = self._executor.start("log-read-ahead", self._read_window)

    def _read_window(self) -> None:
        try:
            self._next_bytes = self._disk.read(self._fd, self._next[_CARRY_BYTES:], self._read_from)
        except OSError as error:
            self._read_error = error


def read_file(path: Path, disk: Disk) -> NDArray[np.uint8]:
    """Return a whole file, ``uint8``.

    Raises:
        OSError: the file cannot be read.
    """
    fd = disk.open(path, os.O_RDONLY)
    try:
        content = aligned_buffer(os.fstat(fd).st_size)
        return content[: disk.read(fd, content, 0)]
    finally:
        disk.close(fd)
