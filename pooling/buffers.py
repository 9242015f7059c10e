"""Factories of memory for pools to lend: page-aligned buffers, and small arrays cut from larger ones."""

import mmap
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pooling.core.factory import Factory
from txqueue.region.fork_safe_lock import ForkSafeLock

Buffer = NDArray[np.uint8]

_MAP_NORESERVE: Final = 0x4000
"""Linux's flag, which `mmap` has from Python 3.13 on: pages are accounted for when touched instead of when mapped."""


def aligned_buffer(byte_count: int) -> Buffer:
    """Return zeroed ``uint8[byte_count]`` that starts on a page; pages never touched cost nothing.

    The memory is unmapped with its last view.
    """
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
    return np.frombuffer(mmap.mmap(-1, byte_count, flags=flags), np.uint8)


class BufferFactory(Factory[Buffer]):
    """Makes page-aligned buffers of one size, each in a mapping of its own, so that destroying one frees its pages.

    A block is written to disk from the very memory that it was built in, by direct I/O, for which the kernel wants page
    alignment. A buffer is lent with whatever its last user left in it.

    Raises:
        ValueError: the size is no multiple of a page.
    """

    def __init__(self, buffer_bytes: int) -> None:
        if buffer_bytes < 1 or buffer_bytes % mmap.PAGESIZE:
            raise ValueError(f"buffers of {buffer_bytes} bytes are not page-aligned: use a multiple of {mmap.PAGESIZE}")
        self._buffer_bytes = buffer_bytes

    def make(self) -> Buffer:
        """Map a buffer, ``uint8[buffer_bytes]``."""
        return aligned_buffer(self._buffer_bytes)


class ArrayFactory(Factory[NDArray[Any]]):
    """Makes small arrays of one shape, many in one allocation, which is freed once all of them are destroyed.

    An array is zeroed when it is returned, so that no borrower sees another's data.
    """

    def __init__(self, length: int, dtype: DTypeLike, per_allocation: int = 1024) -> None:
        """Make arrays ``dtype[length]``; the memory of the first ``per_allocation`` is allocated now."""
        assert length >= 1
        assert per_allocation >= 1
        self._shape = (per_allocation, length)
        self._dtype = np.dtype(dtype)
        self._lock = ForkSafeLock()
        self._rows = iter(np.zeros(self._shape, self._dtype))

    def make(self) -> NDArray[Any]:
        """Cut the next array."""
        with self._lock:
            row = next(self._rows, None)
            if row is None:
                self._rows = iter(np.zeros(self._shape, self._dtype))
                row = next(self._rows)
        made: NDArray[Any] = row
        return made

    def passivate(self, item: NDArray[Any]) -> None:
        """Zero an array."""
        item.fill(0)
