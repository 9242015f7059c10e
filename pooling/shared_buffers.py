"""Buffers that other processes of the host map: slots of an arena, lent by handle, written and read without copying.

This is for borrowers that share no code with us: a path, an offset and a length are all they need. Those that do can
attach to the arena and allocate by themselves.
"""

import mmap
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from pooling.buffers import Buffer
from pooling.core.factory import Factory

if TYPE_CHECKING:
    from pooling.arena.slab_arena import SlabArena
    from pooling.arena.slot import Slot

_PAGE_BYTES: Final = mmap.PAGESIZE


class SharedBuffer(NamedTuple):
    """Where a buffer is."""

    handle: int
    """The arena's name for it."""
    path: Path
    """Good as long as the process that made it runs, for processes of the same user."""
    offset_bytes: int
    """A multiple of the page size."""
    size_bytes: int


def map_buffer(buffer: SharedBuffer) -> Buffer:
    """Map a lent buffer, ``uint8[size_bytes]``; it stays mapped as long as a view of it exists.

    Raises:
        OSError: the process that made it has ended, or is another user's.
    """
    descriptor = os.open(buffer.path, os.O_RDWR | os.O_CLOEXEC)
    try:
        return np.frombuffer(mmap.mmap(descriptor, buffer.size_bytes, offset=buffer.offset_bytes), np.uint8)
    finally:
        os.close(descriptor)


class SharedBufferFactory(Factory[SharedBuffer]):
    """Allocates buffers of one size, a power of two of at least a page, from an arena of its own.

    A buffer is zeroed when it comes back: the next borrower may be somebody else's program.
    """

    def __init__(self, count: int, size_bytes: int) -> None:
        """Allow for ``count`` buffers in use at once, of those that have not been destroyed.

        The arena is made by the first of them, as its compiled code takes a while. Memory never used costs nothing.
        """
        if size_bytes < _PAGE_BYTES or size_bytes & (size_bytes - 1):
            raise ValueError(
                f"buffers of {size_bytes} bytes cannot be mapped one by one: use a power of two from {_PAGE_BYTES} on"
            )
        assert count >= 1
        self._wanted_bytes = count * size_bytes
        self._size_bytes = size_bytes
        self._lock = threading.Lock()
        self._arena: SlabArena | None = None
        self._slots: dict[int, Slot] = {}

    def open(self) -> None:
        """Make the arena, which takes a good part of a second; does nothing where that was done."""
        from pooling.arena.kernel import layout
        from pooling.arena.slab_arena import SlabArena

        # Threads that destroy buffers keep some of the slots at hand, where others do not find them.
        slot_bytes = min(self._size_bytes, layout.CLASS_BYTES_MAX)
        at_hand_bytes = layout.HOLDERS_DEFAULT * layout.MAGAZINE_SLOTS_MAX * slot_bytes
        bytes_max = min(self._wanted_bytes + at_hand_bytes, layout.HEAP_BYTES_MAX)
        with self._lock:
            if self._arena is None:
                self._arena = SlabArena.create(None, bytes_max=bytes_max)

    def make(self) -> SharedBuffer:
        """Allocate a buffer, zeroed."""
        from pooling.arena.kernel import layout

        self.open()
        assert self._arena is not None
        slot = self._arena.allocate(self._size_bytes)
        slot.array().fill(0)
        self._slots[slot.handle] = slot
        heap_bytes = int(self._arena.words[layout.HEAP_AT]) * 8
        offset_bytes = heap_bytes + (slot.handle & layout.LOW_MASK) * layout.GRANULE_BYTES
        assert offset_bytes % _PAGE_BYTES == 0, "slots of a page or more begin on one"
        return SharedBuffer(slot.handle, self._arena.path, offset_bytes, self._size_bytes)

    def passivate(self, item: SharedBuffer) -> None:
        """Zero a buffer."""
        self._slots[item.handle].array().fill(0)

    def destroy(self, item: SharedBuffer) -> None:
        """Give the slot back to the arena."""
        self._slots.pop(item.handle).release()

    def close(self) -> None:
        """Let go of the arena; those that have mapped a buffer keep it until they unmap it."""
        if self._arena is not None:
            self._arena.close()
