"""A slab arena: an allocator of slots of any size in memory that processes share, without a lock.

Slots of 32 B to 16 KiB come from slabs of size classes, larger ones are runs of pages. Each thread caches slots of its
own; what a dead process had is found and freed. In compiled code use ``kernel/operations.py`` with a holder from
:meth:`SlabArena.register`; in Python use :meth:`SlabArena.allocate`.

The arena carries nothing of the transaction pipeline yet: frames, blocks and results have memory of their own. It
serves the shared buffers that ``PoolService`` lends; a later step puts it on the path of a transaction.
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
from pooling.arena.kernel import layout, operations, recovery, slow_path
from pooling.arena.memory_policy import drop_pages, prefer_huge_pages, prefer_node
from pooling.arena.metrics import ArenaMetrics, read_metrics
from pooling.arena.slot import Slot
from txqueue.jit.decorators import load
from txqueue.region.process_identity import process_id_of
from txqueue.region.region import Region

KIND: Final = "arena"
VERSION: Final = 2
"""Version of the region's layout and of the algorithms that use it: raise it with either."""


class SlabArena:
    """A region that processes and threads allocate from. Use :meth:`create` or :meth:`attach`.

    Attributes:
        huge_pages: whether the system was asked for huge pages and hands some out.
        on_numa_node: whether the system was asked for a NUMA node's memory and agreed.
    """

    def __init__(self, region: Region, *, huge_pages: bool = False, numa_node: int | None = None) -> None:
        load(*operations.OPERATIONS, *recovery.OPERATIONS)  # here, so that no call has to compile one
        self._region = region
        self._words = region.words
        heap = int(self._words[layout.HEAP_AT])
        self._heap: NDArray[np.uint8] = self._words[heap:].view(np.uint8)
        self.huge_pages = huge_pages and prefer_huge_pages(self._heap)
        self.on_numa_node = numa_node is not None and prefer_node(self._heap, numa_node)
        self._local = threading.local()
        self._unused_holders: deque[Holder] = deque()
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
        """Makes an empty arena in a new file, or in memory without a name where there is no path.

        Args:
            path: must not exist yet; best in /dev/shm.
            bytes_max: what it may lend, rounded up to a multiple of 64 KiB. Bytes never used cost nothing.
            holders: threads that may use it at once.
            debug: lay red zones behind slots and poison returned ones, which is many times slower.
            huge_pages: ask for huge pages; where the machine has none, ordinary ones are used.
            numa_node: NUMA node whose memory to ask for; where there is no such node, any memory is used.

        Raises:
            ValueError: a capacity is out of its range.
            RegionError: the file cannot be made.
        """
        arena_layout = layout.ArenaLayout(-(-bytes_max // layout.CHUNK_BYTES) * layout.CHUNK_BYTES, holders)
        region = Region.create(path, arena_layout.total_words * 8, kind=KIND, version=VERSION)
        words = region.words
        words[layout.HOLDERS] = arena_layout.holders
        words[layout.PAGES] = arena_layout.chunks * layout.CHUNK_PAGES
        words[layout.DEBUG] = debug
        words[layout.CANDIDATES_AT] = arena_layout.candidates_at
        words[layout.FREE_BITS_AT] = arena_layout.free_bits_at
        words[layout.PAGE_MARKS_AT] = arena_layout.page_marks_at
        words[layout.SLOT_MARKS_AT] = arena_layout.slot_marks_at
        words[layout.HEAP_AT] = arena_layout.heap_at
        region.complete()
        return cls(region, huge_pages=huge_pages, numa_node=numa_node)

    @classmethod
    def attach(cls, path: Path, *, huge_pages: bool = False, numa_node: int | None = None) -> Self:
        """Maps an arena that was created elsewhere.

        Raises:
            RegionForeign: the file is no arena.
            RegionVersionUnsupported: another version of the code made it.
            RegionTruncated: it is shorter than it says.
            RegionError: it cannot be mapped.
        """
        return cls(Region.attach(path, kind=KIND, version=VERSION), huge_pages=huge_pages, numa_node=numa_node)

    @property
    def words(self) -> NDArray[np.uint64]:
        """uint64[:], the whole region: what compiled code passes to the operations."""
        return self._region.words

    @property
    def path(self) -> Path:
        """The file that other processes attach to."""
        return self._region.path

    @property
    def bytes_max(self) -> int:
        """Bytes that the arena may lend."""
        return self._heap.size

    def register(self) -> Holder:
        """Registers a holder, for one thread at a time.

        Raises:
            HoldersExhausted: running processes have registered all.
        """
        return Holder(self.words)

    def allocate(self, byte_count: int) -> Slot:
        """Lends a slot of ``byte_count`` bytes, at least 1, to the calling thread; any thread may return it.

        Raises:
            ArenaFull: there is no room for it, even after :meth:`trim`.
            ArenaClosed: the arena was closed.
            ValueError: ``byte_count`` is less than 1.
            HoldersExhausted: too many threads use the arena.
            SlotDamaged: the slot that was to be lent had been written to after its return (debug mode).
        """
        if byte_count < 1:
            raise ValueError(f"a slot has at least 1 byte; got {byte_count}")
        if self._closed:
            raise ArenaClosed(f"the arena {self.path} was closed; attach to it again")
        holder = self._holder()
        handle = operations.allocate(self._words, holder.index, byte_count)
        if handle == slow_path.FULL:
            self.trim()
            handle = operations.allocate(self._words, holder.index, byte_count)
        if handle < 0:
            raise self._refusal(int(handle), holder, byte_count)
        return self._slot(int(handle), byte_count)

    def adopt(self, handle: int, byte_count: int | None = None) -> Slot:
        """Makes the caller the owner of a slot that another thread or process has handed over.

        Args:
            handle: from :meth:`Slot.hand_over <pooling.arena.slot.Slot.hand_over>` or compiled code.
            byte_count: how much of it to show, all of it by default.

        Raises:
            SlotReturned: it was returned meanwhile, or freed when the process that had it died.
            SlotForeign: there is no such slot.
            ValueError: the slot has fewer bytes than are to be shown.
        """
        holder = self._holder()
        capacity = int(operations.adopt(self._words, holder.index, handle))
        if capacity < 0:
            raise self._misuse(capacity, handle)
        if byte_count is not None and not 1 <= byte_count <= capacity:
            raise ValueError(f"the slot has {capacity} bytes; cannot show {byte_count}")
        return self._slot(handle, byte_count or capacity)

    def free(self, handle: int) -> None:
        """Takes a slot back by its handle, whichever thread it was lent to. For slots without a :class:`Slot` object.

        Raises:
            SlotReturned: it was returned before, or freed when the process that had it died.
            SlotForeign: there is no such slot.
            SlotDamaged: somebody wrote beyond its bytes (debug mode). It is returned.
        """
        outcome = int(operations.free(self._words, self._holder().index, handle))
        if outcome < 0:
            raise self._misuse(outcome, handle)

    def free_finally(self, handle: int) -> None:
        """As :meth:`free`, from a finalizer: in a thread that is ending, which would never give a new holder back."""
        if getattr(self._local, "thread_holder", None) is not None:
            self.free(handle)
            return
        borrowed = _ThreadHolder(self._words, self._unused_holders)
        outcome = int(operations.free(self._words, borrowed.holder.index, handle))
        if outcome < 0:
            raise self._misuse(outcome, handle)

    def recover_dead(self) -> int:
        """Frees all that dead processes had; returns the number of slots and runs. A full arena does so by itself."""
        return recover_dead(self.words)

    def trim(self) -> int:
        """Gives memory back to the system.

        It frees what dead processes had, flushes the calling thread's holder, turns slabs without a slot in use into
        free pages, and drops the free pages.

        Returns:
            Bytes given back.
        """
        holder = self._holder()
        self.recover_dead()
        holder.flush()
        recovery.retire_slabs(self._words, holder.index)
        return self._drop_free_pages(holder.index)

    def get_arena_metrics(self) -> ArenaMetrics:
        """Reads the arena's metrics; while others allocate they are an estimate."""
        return read_metrics(self.words)

    def close(self) -> None:
        """Lends nothing more and closes the region; the file stays.

        Slots still lent stay usable and are returned as usual.
        """
        self._closed = True
        self._local = threading.local()
        self._region.close()

    def _holder(self) -> Holder:
        """The calling thread's holder."""
        thread_holder: _ThreadHolder | None = getattr(self._local, "thread_holder", None)
        if thread_holder is None or thread_holder.holder.closed:  # closed: after a fork
            thread_holder = self._local.thread_holder = _ThreadHolder(self._words, self._unused_holders)
        return thread_holder.holder

    def _slot(self, handle: int, byte_count: int) -> Slot:
        start = (handle & layout.LOW_MASK) * layout.GRANULE_BYTES
        return Slot(self, handle, self._heap[start : start + byte_count])

    def _drop_free_pages(self, holder: int) -> int:
        dropped = 0
        page = 0
        while (claimed := int(recovery.claim_free_pages(self._words, holder, page))) >= 0:
            page, pages = divmod(claimed, recovery.SWEEP_PAGES * 2)
            try:
                memory = self._heap[page * layout.PAGE_BYTES : (page + pages) * layout.PAGE_BYTES]
                dropped += memory.size if drop_pages(memory) else 0
            finally:
                recovery.release_claimed_pages(self._words, page)
            page += pages
        return dropped

    def _refusal(self, outcome: int, holder: Holder, byte_count: int) -> Exception:
        if outcome == slow_path.FULL:
            return ArenaFull(
                f"no room for {byte_count} bytes among {self.bytes_max}; return slots, or create a larger arena"
            )
        assert outcome == slow_path.WRITTEN
        return self._damage(holder, "was written to after it had been returned")

    def _misuse(self, outcome: int, handle: int) -> Exception:
        if outcome == slow_path.FOREIGN:
            return SlotForeign(f"handle {handle:#x} names no slot of the arena {self.path}; use it with its own arena")
        if outcome == slow_path.RETURNED:
            return SlotReturned(f"slot {handle:#x} was returned before: {self._state(handle)}")
        assert outcome == slow_path.DAMAGED
        return self._damage(self._holder(), "was returned with a broken red zone: bytes beyond its end were written,")

    def _state(self, handle: int) -> str:
        """Says what has become of a slot, by its mark."""
        mark = int(self._words[int(operations.mark_at(self._words, handle))])
        state, holder = mark & layout.STATE_MASK, (mark & layout.LOW_MASK) >> layout.STATE_BITS
        if state not in (layout.LENT, layout.CACHED):
            return "it is free"
        process = process_id_of(owner_of(self._words, holder))
        what = "lent to" if state == layout.LENT else "returned by"
        return f"it is now {what} holder {holder} of process {process}"

    def _damage(self, holder: Holder, what: str) -> SlotDamaged:
        fault = layout.HOLDERS_AT + holder.index * layout.HOLDER_WORDS + layout.FAULT
        handle, owner = int(self._words[fault]), process_id_of(int(self._words[fault + 1]))
        by = f"by process {owner}" if owner else "when its holder died, or never lent before"
        return SlotDamaged(f"slot {handle:#x} {what} {by}; look for a write through a view or handle kept too long")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _ThreadHolder:
    """The holder of one thread.

    When the thread ends, its holder stays with the process, for another thread to use, as slots that were lent to it
    may still be in use.
    """

    def __init__(self, words: NDArray[np.uint64], unused: "deque[Holder]") -> None:
        self._unused = unused
        while unused:
            self.holder = unused.pop()
            if not self.holder.closed:  # closed: after a fork
                return
        self.holder = Holder(words)

    def __del__(self) -> None:
        holder: Holder | None = getattr(self, "holder", None)
        # A forked child drops what its parent's threads had; to it those holders are closed.
        if holder is not None and not holder.closed:
            holder.flush()
            self._unused.append(holder)
