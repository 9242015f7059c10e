"""Memory shared by processes, lent in slots of any size, without a lock.

Slots of 32 B to 16 KiB come from slabs of size classes, larger ones are runs of pages. Threads keep slots of their own
at hand; what a dead process held is found and freed. In compiled code use ``kernel/operations.py`` with a
holder from :meth:`SlabArena.register`; in Python use :meth:`SlabArena.allocate`.
"""

import threading
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from pooling.arena.errors import ArenaClosed, ArenaFull, SlotDamaged, SlotForeign, SlotReturned
from pooling.arena.holder import Holder, owner_of, recover_dead
from pooling.arena.kernel import layout, recovery
from pooling.arena.kernel import operations as kernels
from pooling.arena.kernel import slow_path as slow
from pooling.arena.memory_policy import drop_pages, prefer_huge_pages, prefer_node
from pooling.arena.metrics import ArenaMetrics, count
from pooling.arena.slot import Slot
from txqueue.jit.decorators import load
from txqueue.region.region import Region

KIND: Final = "arena"
VERSION: Final = 2
"""Of the region's layout, and of how it is used: raise it with either."""


class SlabArena:
    """A region that processes and threads allocate from. Use :meth:`create` or :meth:`attach`.

    Attributes:
        huge_pages: whether the system was asked for huge pages and hands some out.
        on_numa_node: whether the system was asked for a NUMA node's memory and agreed.
    """

    def __init__(self, region: Region, *, huge_pages: bool = False, numa_node: int | None = None) -> None:
        load(*kernels.OPERATIONS, *recovery.OPERATIONS)  # now, while no other thread does so, too
        self._region = region
        self._words = region.words
        heap = int(self._words[layout.HEAP_AT])
        self._heap: NDArray[np.uint8] = self._words[heap:].view(np.uint8)
        self.huge_pages = huge_pages and prefer_huge_pages(self._heap)
        self.on_numa_node = numa_node is not None and prefer_node(self._heap, numa_node)
        self._local = threading.local()
        self._idle: deque[Holder] = deque()
        self._closed = False

    @classmethod
    def create(
        cls,
        path: Path | None,
        *,
        bytes_max: int,
        holders: int = layout.HOLDERS_DEFAULT,
        debug: bool = False,
        huge_pages: bool = False,
        numa_node: int | None = None,
    ) -> Self:
        """Makes an empty arena in a new file, or without a name where there is no path.

        Args:
            path: must not exist yet; best in /dev/shm.
            bytes_max: what it may lend, rounded up to 64 KiB. Bytes never used cost nothing.
            holders: threads that may use it at once.
            debug: lays red zones behind slots and poisons returned ones; many times slower.
            huge_pages: ask for them; where the machine has none, ordinary ones do.
            numa_node: whose memory to ask for; where there is no such node, any memory does.

        Raises:
            ValueError: the capacities make no sense.
            RegionError: the file cannot be made.
        """
        parts = layout.ArenaLayout(-(-bytes_max // layout.UNIT_BYTES) * layout.UNIT_BYTES, holders)
        region = Region.create(path, parts.total_words * 8, kind=KIND, version=VERSION)
        words = region.words
        words[layout.HOLDERS] = parts.holders
        words[layout.PAGES] = parts.units * layout.UNIT_PAGES
        words[layout.DEBUG] = debug
        words[layout.MAYBE_AT] = parts.maybe_at
        words[layout.BITS_AT] = parts.bits_at
        words[layout.PAGE_MARKS_AT] = parts.page_marks_at
        words[layout.SLOT_MARKS_AT] = parts.slot_marks_at
        words[layout.HEAP_AT] = parts.heap_at
        region.complete()
        return cls(region, huge_pages=huge_pages, numa_node=numa_node)

    @classmethod
    def attach(cls, path: Path, *, huge_pages: bool = False, numa_node: int | None = None) -> Self:
        """Maps an arena that was created elsewhere.

        Raises:
            RegionForeign, RegionVersionUnsupported, RegionTruncated, RegionError: the file is not one that can be used.
        """
        return cls(Region.attach(path, kind=KIND, version=VERSION), huge_pages=huge_pages, numa_node=numa_node)

    @property
    def words(self) -> NDArray[np.uint64]:
        """uint64[:], the whole region: what compiled code passes to the kernels."""
        return self._region.words

    @property
    def path(self) -> Path:
        """Where other processes attach."""
        return self._region.path

    @property
    def bytes_max(self) -> int:
        """What the arena may lend."""
        return self._heap.size

    def register(self) -> Holder:
        """Makes a holder, for one thread at a time.

        Raises:
            HoldersExhausted: all are taken.
        """
        return Holder(self.words)

    def allocate(self, byte_count: int) -> Slot:
        """Lends at least one byte to the calling thread; any thread may return it.

        Raises:
            ArenaFull: there is no room for it, even after what is free elsewhere was gathered.
            HoldersExhausted: too many threads use the arena.
            SlotDamaged: the slot that was to be lent had been written to after its return (debug mode).
        """
        if byte_count < 1:
            raise ValueError(f"a slot has at least 1 byte; got {byte_count}")
        if self._closed:
            raise ArenaClosed(f"the arena {self.path} was closed; attach to it again")
        holder = self._holder()
        handle = kernels.allocate(self._words, holder.index, byte_count)
        if handle == slow.FULL:
            self.trim()
            handle = kernels.allocate(self._words, holder.index, byte_count)
        if handle < 0:
            raise self._refusal(int(handle), holder, byte_count)
        return self._slot(int(handle), byte_count)

    def adopt(self, handle: int, byte_count: int | None = None) -> Slot:
        """Makes a slot that another thread or process handed over the caller's.

        Args:
            handle: from :meth:`Slot.hand_over <pooling.arena.slot.Slot.hand_over>` or compiled code.
            byte_count: how much of it to show, all of it by default.

        Raises:
            SlotReturned: it was returned meanwhile, or freed when the one that had it died.
            SlotForeign: there is no such slot.
        """
        capacity = int(kernels.adopt(self._words, self._holder().index, handle))
        if capacity < 0:
            raise self._misuse(capacity, handle)
        if byte_count is not None and not 1 <= byte_count <= capacity:
            raise ValueError(f"the slot has {capacity} bytes; cannot show {byte_count}")
        return self._slot(handle, byte_count or capacity)

    def free(self, handle: int) -> None:
        """Returns a slot by its handle, whoever it was lent to. For slots that have no :class:`Slot` object.

        Raises:
            SlotReturned, SlotForeign: as :meth:`adopt`.
            SlotDamaged: somebody wrote beyond its bytes (debug mode). It is returned.
        """
        outcome = int(kernels.free(self._words, self._holder().index, handle))
        if outcome < 0:
            raise self._misuse(outcome, handle)

    def recover_dead(self) -> int:
        """Frees what dead processes held; returns the number of slots. Happens by itself where the arena is full."""
        return recover_dead(self.words)

    def trim(self) -> int:
        """Gathers what is free: the dead's and this thread's slots, slabs without any in use, and gives the pages of
        free memory back to the system.

        Returns:
            Bytes given back.
        """
        holder = self._holder()
        self.recover_dead()
        holder.empty()
        recovery.retire_slabs(self._words, holder.index)
        return self._drop_free_pages(holder.index)

    def get_arena_metrics(self) -> ArenaMetrics:
        """Counters since the arena was created, and what is in use; an estimate while others allocate."""
        return count(self.words)

    def close(self) -> None:
        """Lends nothing more and lets go of the region; the file stays.

        Slots still lent are as good as before, and are returned as usual.
        """
        self._closed = True
        self._local = threading.local()
        self._region.close()

    def _holder(self) -> Holder:
        """The calling thread's holder."""
        lease: _Lease | None = getattr(self._local, "lease", None)
        if lease is None or lease.holder.closed:  # closed: after a fork
            lease = self._local.lease = _Lease(self._words, self._idle)
        return lease.holder

    def _slot(self, handle: int, byte_count: int) -> Slot:
        start = (handle & layout.LOW_MASK) * layout.GRANULE_BYTES
        return Slot(self, handle, self._heap[start : start + byte_count])

    def _drop_free_pages(self, holder: int) -> int:
        dropped = 0
        page = 0
        while (claimed := int(recovery.claim_free(self._words, holder, page))) >= 0:
            page, pages = divmod(claimed, recovery.SWEEP_PAGES * 2)
            try:
                memory = self._heap[page * layout.PAGE_BYTES : (page + pages) * layout.PAGE_BYTES]
                dropped += memory.size if drop_pages(memory) else 0
            finally:
                recovery.release_claimed(self._words, page)
            page += pages
        return dropped

    def _refusal(self, outcome: int, holder: Holder, byte_count: int) -> Exception:
        if outcome == slow.FULL:
            return ArenaFull(
                f"no room for {byte_count} bytes among {self.bytes_max}; return slots, or create a larger arena"
            )
        assert outcome == slow.WRITTEN
        return self._damage(holder, "was written to after it had been returned")

    def _misuse(self, outcome: int, handle: int) -> Exception:
        if outcome == slow.FOREIGN:
            return SlotForeign(f"handle {handle:#x} names no slot of the arena {self.path}; use it with its own arena")
        if outcome == slow.RETURNED:
            return SlotReturned(f"slot {handle:#x} was returned before: {self._state(handle)}")
        assert outcome == slow.DAMAGED
        return self._damage(self._holder(), "was returned with a broken red zone: bytes beyond its end were written,")

    def _state(self, handle: int) -> str:
        """What has become of a slot, from its mark."""
        mark = int(self._words[int(kernels.mark_at(self._words, handle))])
        state, holder = mark & layout.STATE_MASK, (mark & layout.LOW_MASK) >> layout.STATE_BITS
        if state not in (layout.HELD, layout.CACHED):
            return "it is free"
        process = owner_of(self._words, holder) & 0x3FFFFF
        what = "lent to" if state == layout.HELD else "returned by"
        return f"it is now {what} holder {holder} of process {process}"

    def _damage(self, holder: Holder, what: str) -> SlotDamaged:
        fault = layout.HOLDERS_AT + holder.index * layout.HOLDER_WORDS + layout.FAULT
        handle, owner = int(self._words[fault]), int(self._words[fault + 1]) & 0x3FFFFF
        by = f"by process {owner}" if owner else "when its holder died, or never lent before"
        return SlotDamaged(f"slot {handle:#x} {what} {by}; look for a write through a view or handle kept too long")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Lease:
    """A thread's use of a holder. When the thread ends, the holder goes to another one of this process, rather than
    back to the arena: slots that were lent to it may be in use.
    """

    def __init__(self, words: NDArray[np.uint64], idle: "deque[Holder]") -> None:
        self._idle = idle
        while idle:
            self.holder = idle.pop()
            if not self.holder.closed:  # it would be after a fork
                return
        self.holder = Holder(words)

    def __del__(self) -> None:
        holder: Holder | None = getattr(self, "holder", None)
        if holder is not None and not holder.closed:
            holder.empty()
            self._idle.append(holder)
