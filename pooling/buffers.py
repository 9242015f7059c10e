"""A fixed number of page-aligned buffers, borrowed and returned.

A block is written to disk straight from the memory it was built in, past the page cache, for which the kernel wants
page alignment. Buffers are cut from one anonymous mapping: the pool's memory is bounded by its construction, pages
never touched cost nothing, and nothing is allocated while transactions flow.
"""

import mmap
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
from numpy.typing import NDArray

Buffer = NDArray[np.uint8]


def aligned_buffer(byte_count: int) -> Buffer:
    """Return zeroed ``uint8[byte_count]`` that starts on a page; the memory goes with its last view."""
    return np.frombuffer(mmap.mmap(-1, byte_count), np.uint8)


class PoolExhausted(Exception):  # noqa: N818 (named for the state the pool is in)
    """No buffer was returned within the timeout."""


class NotBorrowed(Exception):  # noqa: N818
    """The buffer is not this pool's, or was returned before."""


class BufferPool:
    """``count`` buffers of ``buffer_bytes`` (a multiple of the page size) each; safe to use from any thread.

    The most recently returned buffer is borrowed next, since its bytes are the likeliest to be in cache.
    """

    def __init__(self, count: int, buffer_bytes: int) -> None:
        if count < 1:
            raise ValueError(f"a pool of {count} buffers can lend none: ask for at least 1")
        if buffer_bytes < 1 or buffer_bytes % mmap.PAGESIZE:
            raise ValueError(f"buffers of {buffer_bytes} bytes are not page-aligned: use a multiple of {mmap.PAGESIZE}")
        self.buffer_bytes: Final = buffer_bytes
        self.count: Final = count
        memory = aligned_buffer(count * buffer_bytes)
        self._buffers: Final = [memory[start : start + buffer_bytes] for start in range(0, memory.size, buffer_bytes)]
        self._numbers: Final = {buffer.ctypes.data: number for number, buffer in enumerate(self._buffers)}
        self._free = deque(range(count))
        self._borrowed = [False] * count
        self._returned = threading.Condition()

    @property
    def available(self) -> int:
        """Buffers that can be borrowed without waiting."""
        return len(self._free)

    def borrow_object(self, timeout_s: float | None = None) -> Buffer:
        """Lend a buffer, ``uint8[buffer_bytes]``, with whatever its last user left in it.

        Waits for one to be returned, for ``timeout_s`` at most (``None``: for ever), then raises
        :class:`PoolExhausted`.
        """
        with self._returned:
            if not self._returned.wait_for(lambda: self._free, timeout_s):
                raise PoolExhausted(
                    f"none of {self.count} buffers came back in {timeout_s} s: return some, or enlarge the pool"
                )
            number = self._free.pop()
            assert not self._borrowed[number]
            self._borrowed[number] = True
            return self._buffers[number]

    def return_object(self, buffer: Buffer) -> None:
        """Take a buffer back; nobody may use it or a view of it from now on.

        ``buffer`` is what :meth:`borrow_object` lent or a view from its start. Raises :class:`NotBorrowed` for others.
        """
        number = self._numbers.get(buffer.ctypes.data)
        with self._returned:
            if number is None or not self._borrowed[number]:
                raise NotBorrowed("this buffer is not on loan: it was returned twice, or belongs to another pool")
            self._borrowed[number] = False
            self._free.append(number)
            self._returned.notify()

    @contextmanager
    def lend(self, timeout_s: float | None = None) -> Iterator[Buffer]:
        """Lend a buffer for the length of a ``with`` block."""
        buffer = self.borrow_object(timeout_s)
        try:
            yield buffer
        finally:
            self.return_object(buffer)
