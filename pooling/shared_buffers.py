"""Shared buffers: slots of an arena that other processes of the host map, to write and read them without copying.

They are for borrowers in any language: a path, an offset and a length are all that is needed to map one. Borrowers in
Python can attach to an arena and allocate by themselves instead.
"""

import mmap
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from pooling.buffers import Buffer
from pooling.core.factory import Factory
from txqueue.region.fork import disown_in_children
from txqueue.region.fork_safe_lock import ForkSafeLock

if TYPE_CHECKING:
    from pooling.arena.slab_arena import SlabArena
    from pooling.arena.slot import Slot

_PAGE_BYTES: Final = mmap.PAGESIZE


class SharedBuffer(NamedTuple):
    """The address of a buffer: what another process needs to map it."""

    handle: int
    """The handle of its slot in the arena."""
    path: Path
    """The arena's file, which processes of the same user can open as long as the process that made it runs."""
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

    A buffer is zeroed when it is returned: the next borrower may be another program. A forked child's buffers come from
    an arena of the child's own, which others find for as long as the child runs.
    """

    def __init__(self, count: int, size_bytes: int) -> None:
        """Allow for ``count`` buffers that were made and not destroyed.

        The arena is made with the first of them, as its compiled code takes a while to load. Memory never used costs
        nothing.

        Raises:
            ValueError: the size is no power of two, or less than a page.
        """
        if size_bytes < _PAGE_BYTES or size_bytes & (size_bytes - 1):
            raise ValueError(
                f"buffers of {size_bytes} bytes cannot be mapped one by one: use a power of two from {_PAGE_BYTES} on"
            )
        assert count >= 1
        self._wanted_bytes = count * size_bytes
        self._size_bytes = size_bytes
        self._lock = ForkSafeLock()
        self._arena: SlabArena | None = None
        self._slots: dict[int, Slot] = {}
        disown_in_children(self)

    def disown(self) -> None:
        """Leave the arena to the parent process, after a fork."""
        self._arena, self._slots = None, {}

    def open(self) -> None:
        """Make the arena, which takes a good part of a second; do nothing where that was done."""
        from pooling.arena.kernel import layout
        from pooling.arena.slab_arena import SlabArena

        # Threads that destroy buffers cache some of the slots, where other threads do not find them.
        slot_bytes = min(self._size_bytes, layout.CLASS_BYTES_MAX)
        cached_bytes = layout.HOLDERS_DEFAULT * layout.MAGAZINE_SLOTS_MAX * slot_bytes
        bytes_max = min(self._wanted_bytes + cached_bytes, layout.HEAP_BYTES_MAX)
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
        assert offset_bytes % _PAGE_BYTES == 0, "slots of a page or more begin on a page"
        return SharedBuffer(slot.handle, self._arena.path, offset_bytes, self._size_bytes)

    def passivate(self, item: SharedBuffer) -> None:
        """Zero a buffer."""
        self._slots[item.handle].array().fill(0)

    def destroy(self, item: SharedBuffer) -> None:
        """Return the slot to the arena."""
        self._slots.pop(item.handle).release()

    def close(self) -> None:
        """Close the arena; processes that have mapped a buffer keep it until they unmap it."""
        if self._arena is not None:
            self._arena.close()
