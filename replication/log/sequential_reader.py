"""Reads a segment from front to back through one buffer, past the page cache.

For a pass over the whole log this is several times faster than faulting a mapping in, and leaves the cache to others.
"""

import os
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pooling.buffers import aligned_buffer
from replication.log.block import BLOCK_BYTES_MAX, PAGE_BYTES
from replication.log.disk import Disk

_WINDOW_BYTES: Final = 8 << 20
assert _WINDOW_BYTES >= BLOCK_BYTES_MAX


class SequentialReader:
    """A view of some consecutive megabytes of one file at a time."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._buffer = aligned_buffer(_WINDOW_BYTES)
        self._fd = -1

    def open(self, path: Path) -> None:
        """Turn to another file."""
        self.close()
        self._fd = self._disk.open(path, os.O_RDONLY)
        self.file_bytes = os.fstat(self._fd).st_size
        self._start = self._filled = 0

    def close(self) -> None:
        """Close the file, if any is open."""
        if self._fd >= 0:
            self._disk.close(self._fd)
            self._fd = -1

    def at(self, offset: int, byte_count: int = PAGE_BYTES) -> NDArray[np.uint8]:
        """Return the file from page-aligned ``offset`` on: ``byte_count`` bytes, or more as they happen to be there.

        Fewer only where the file ends. The view holds until the next call.
        """
        assert self._fd >= 0
        assert offset % PAGE_BYTES == 0
        assert byte_count <= _WINDOW_BYTES
        if not self._start <= offset <= offset + byte_count <= self._start + self._filled:
            self._start = offset
            self._filled = self._disk.read(self._fd, self._buffer, offset)
        return self._buffer[offset - self._start : self._filled]
