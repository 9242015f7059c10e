"""An arena lends bytes of any size, and notices whoever uses them wrongly."""

import contextlib
import mmap
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from pooling.arena.errors import ArenaClosed, ArenaFull, HoldersExhausted, SlotForeign, SlotInUse, SlotReturned
from pooling.arena.kernel import layout, operations
from pooling.arena.kernel.recovery import retire_slabs
from pooling.arena.slab_arena import SlabArena
from pooling.arena.slot import Slot
from tests.pooling.arena.audit import audit
from tests.txqueue.region.test_fork import holds_in_child
from txqueue.errors import RegionForeign
from txqueue.queue import LockFreeTxQueue

SIZES = [1, 31, 32, 33, 64, 100, 1000, 1024, 4097, 16384, 16385, 65536, 100_000]


@pytest.fixture
def arena() -> Iterator[SlabArena]:
    with SlabArena.create(None, bytes_max=4 << 20, holders=8) as arena:
        yield arena


def address(array: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> int:
    return int(array.__array_interface__["data"][0])


@pytest.mark.parametrize("byte_count", SIZES)
def test_a_slot_has_the_bytes_asked_for_and_is_aligned_to_its_size(arena: SlabArena, byte_count: int) -> None:
    with arena.allocate(byte_count) as slot:
        assert slot.byte_count == len(slot.view) == byte_count
        alignment = min(1 << max(byte_count - 1, 31).bit_length(), mmap.PAGESIZE)
        assert address(slot.array()) % alignment == 0


def test_slots_lent_at_once_do_not_overlap(arena: SlabArena) -> None:
    slots = [arena.allocate(size) for size in SIZES * 5]
    for number, slot in enumerate(slots):
        slot.array()[:] = number
    for number, slot in enumerate(slots):
        assert (slot.array() == number).all()
        slot.release()
    assert arena.get_arena_metrics().lent == 0


def test_a_view_writes_to_what_others_see_who_attach(tmp_path: Path) -> None:
    with SlabArena.create(tmp_path / "arena", bytes_max=1 << 20) as arena, SlabArena.attach(arena.path) as other:
        slot = arena.allocate(100)
        slot.view[:5] = b"hello"
        adopted = other.adopt(slot.hand_over(), 100)
        assert bytes(adopted.view[:5]) == b"hello"
        adopted.release()
        with pytest.raises(SlotReturned, match="handed over by thread"):
            slot.release()


def test_a_slot_returned_last_is_lent_first(arena: SlabArena) -> None:
    first, second = arena.allocate(200), arena.allocate(200)
    where = address(first.array())
    second.release()
    first.release()
    assert address(arena.allocate(200).array()) == where


def test_using_a_returned_slot_is_an_error_that_says_who_returned_it(arena: SlabArena) -> None:
    slot = arena.allocate(64)
    thread = threading.Thread(target=slot.release, name="the-returner")
    thread.start()
    thread.join()
    for use in (slot.release, slot.array, slot.hand_over, lambda: slot.view):
        with pytest.raises(SlotReturned, match="returned by thread 'the-returner'"):
            use()


def test_a_handle_is_good_until_its_slot_is_returned_even_if_that_is_lent_again(arena: SlabArena) -> None:
    for byte_count in (64, 100_000):
        slot = arena.allocate(byte_count)
        handle = slot.hand_over()
        arena.free(handle)
        with pytest.raises(SlotReturned, match="returned before"):
            arena.free(handle)
        again = arena.allocate(byte_count)
        assert again.handle & layout.LOW_MASK == handle & layout.LOW_MASK
        with pytest.raises(SlotReturned, match=f"now lent to holder 0 of process {os.getpid()}"):
            arena.free(handle)
        with pytest.raises(SlotReturned):
            arena.adopt(handle)
        again.release()


def test_a_handle_of_nothing_is_foreign(arena: SlabArena) -> None:
    real = arena.allocate(64).hand_over()
    beyond = arena.bytes_max // layout.GRANULE_BYTES
    for handle in (0, -1, 5, real | 15 << layout.CLASS_SHIFT, (real & layout.STAMP_MASK) | beyond):
        with pytest.raises(SlotForeign, match="its own arena"):
            arena.free(handle)


def test_a_handle_inside_of_a_slot_or_of_another_size_is_refused(arena: SlabArena) -> None:
    handle = arena.allocate(64).hand_over()
    for wrong in (handle + 2, handle ^ 1 << layout.CLASS_SHIFT, handle + layout.GENERATION):
        with pytest.raises(SlotReturned):
            arena.free(wrong)
    assert arena.get_arena_metrics().lent == 1


@pytest.mark.parametrize("view", ["memoryview", "slice", "array", "array of array", "array of a slice"])
def test_a_slot_cannot_be_returned_under_a_view(arena: SlabArena, view: str) -> None:
    slot = arena.allocate(64)
    views: dict[str, Callable[[], object]] = {
        "memoryview": lambda: slot.view,
        "slice": lambda: slot.view[3:7],
        "array": slot.array,
        "array of array": lambda: slot.array(np.uint32)[1:][::2],
        "array of a slice": lambda: np.frombuffer(slot.view[8:], np.uint64)[1:],
    }
    kept = views[view]()
    for leave in (slot.release, slot.hand_over):
        with pytest.raises(SlotInUse, match=r"drop them first|while there are views"):
            leave()
    del kept
    slot.release()
    assert arena.get_arena_metrics().lent == 0


def test_a_view_that_outlives_its_block_is_reported_and_keeps_the_slot(arena: SlabArena) -> None:
    with pytest.raises(SlotInUse, match="drop them inside the block"), arena.allocate(64) as slot:
        kept = slot.array()[3:]
    with pytest.raises(SlotReturned):
        slot.release()
    assert address(arena.allocate(64).array()) != address(kept) - 3
    assert arena.get_arena_metrics().lent == 1
    del kept
    assert arena.get_arena_metrics().lent == 0


def test_an_error_in_a_block_is_not_hidden_by_its_views(arena: SlabArena) -> None:
    kept = []

    def fail() -> None:
        with arena.allocate(64) as slot:
            kept.append(slot.view)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    kept.clear()
    assert arena.get_arena_metrics().lent == 0


def test_a_dropped_slot_is_returned_once_its_views_are_gone(arena: SlabArena) -> None:
    arena.allocate(64)
    assert arena.get_arena_metrics().lent == 0
    view = arena.allocate(64).view
    assert arena.get_arena_metrics().lent == 1
    view[:] = bytes(64)
    del view
    assert arena.get_arena_metrics().lent == 0


def test_a_full_arena_says_so_and_is_whole_again_when_all_came_back(arena: SlabArena) -> None:
    for byte_count in (100, 16384, 200_000):
        slots: list[Slot] = []

        def fill(slots: list[Slot] = slots, byte_count: int = byte_count) -> None:
            while True:
                slots.append(arena.allocate(byte_count))

        with pytest.raises(ArenaFull, match="return slots"):
            fill()
        lent_bytes = len(slots) * max(byte_count, 128)
        assert lent_bytes > arena.bytes_max * 0.9
        for slot in slots:
            slot.release()
    arena.trim()
    assert arena.get_arena_metrics().free_bytes == arena.bytes_max
    with arena.allocate(arena.bytes_max):
        assert arena.get_arena_metrics().free_bytes == 0
    with pytest.raises(ArenaFull):
        arena.allocate(arena.bytes_max + 1)
    with pytest.raises(ValueError, match="at least 1 byte"):
        arena.allocate(0)


def test_trimming_gives_pages_back_to_the_system(tmp_path: Path) -> None:
    with SlabArena.create(tmp_path / "arena", bytes_max=8 << 20) as arena:
        slots = [arena.allocate(size) for size in (1000, 4 << 20)]
        for slot in slots:
            slot.array()[:] = 1
            slot.release()
        touched = arena.path.stat().st_blocks * 512
        dropped = arena.trim()
        if dropped == 0:
            pytest.skip("this file system cannot make holes")
        assert arena.path.stat().st_blocks * 512 <= touched - (4 << 20)


def test_a_slot_at_the_offset_of_a_freed_one_is_not_mistaken_for_it(arena: SlabArena) -> None:
    # The slab is taken apart and its pages become one of another class: old handles stay void.
    handle = arena.allocate(1024).hand_over()
    arena.free(handle)
    arena.trim()
    slots = [arena.allocate(512) for _ in range(200)]
    assert any(slot.handle & layout.LOW_MASK == handle & layout.LOW_MASK for slot in slots)
    with pytest.raises(SlotReturned):
        arena.free(handle)


def test_a_search_takes_only_slots_of_its_own_size() -> None:
    large, small = 16384, 4096
    with SlabArena.create(None, bytes_max=2 * layout.CHUNK_BYTES, holders=1) as arena, arena.register() as holder:

        def lend_and_return(*sizes: int) -> None:
            handles = [operations.allocate(arena.words, holder.index, size) for size in sizes]
            assert min(handles) > 0
            for handle in handles:
                assert operations.free(arena.words, holder.index, handle) == 0
            holder.flush()

        # The first chunk is still said to have large slots when it is a slab of small ones, of which there are more.
        lend_and_return(large)
        assert retire_slabs(arena.words, holder.index) == 1
        for size, slots in [(small, 16), (large, 4)] * 2:
            lend_and_return(*[size] * slots)
            assert not audit(arena.words).lent


def test_what_ended_threads_left_is_used_and_returned_by_others(arena: SlabArena) -> None:
    slots = []
    for _ in range(20):  # more than there are holders
        thread = threading.Thread(target=lambda: slots.append(arena.allocate(64)))
        thread.start()
        thread.join()
    assert arena.get_arena_metrics().holders <= 2
    for slot in slots:
        slot.release()
    arena.trim()
    assert audit(arena.words).free_pages == arena.bytes_max // layout.PAGE_BYTES


def test_there_are_only_so_many_holders(arena: SlabArena) -> None:
    holders = [arena.register() for _ in range(8)]
    with pytest.raises(HoldersExhausted, match="close some"):
        arena.register()
    holders[3].close()
    with arena.register() as holder:
        assert holder.index == 3


def test_a_closed_arena_takes_slots_back_but_lends_none() -> None:
    arena = SlabArena.create(None, bytes_max=1 << 20)
    slot = arena.allocate(64)
    arena.close()
    slot.array()[:] = 3
    slot.release()
    with pytest.raises(ArenaClosed, match="attach to it again"):
        arena.allocate(64)


def test_a_forked_child_can_neither_return_its_parents_slots_nor_lose_them(arena: SlabArena) -> None:
    slot = arena.allocate(64)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            slot.release()
        except ArenaClosed:
            own = arena.allocate(64)
            del slot
            code = 0 if own.handle else 2
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert arena.get_arena_metrics().lent == 2
    assert arena.recover_dead() > 0
    assert arena.get_arena_metrics().lent == 1
    slot.release()


@pytest.mark.parametrize("viewed", [False, True])
def test_a_forked_child_leaves_alone_what_its_parents_other_threads_have(arena: SlabArena, viewed: bool) -> None:
    local, ready, forked = threading.local(), threading.Event(), threading.Event()

    def use() -> None:
        local.slot = arena.allocate(64)
        if viewed:
            local.slot = local.slot.array()  # the slot is dropped, to be returned with this view of it
        ready.set()
        forked.wait(10)

    thread = threading.Thread(target=use, daemon=True)
    thread.start()
    assert ready.wait(10)
    before = arena.get_arena_metrics()
    child = os.fork()
    if child == 0:
        os._exit(0)  # Python has dropped the thread-local objects of all other threads by now
    os.waitpid(child, 0)
    after = arena.get_arena_metrics()
    forked.set()
    thread.join(10)
    assert after == before
    assert before.lent == 1
    assert before.cached_bytes > 0
    assert arena.get_arena_metrics().lent == 0


def test_a_forked_child_can_not_hand_over_its_parents_slot(arena: SlabArena) -> None:
    slot = arena.allocate(64)

    def is_refused() -> bool:
        with pytest.raises(ArenaClosed, match="parent process"):
            slot.hand_over()
        return True

    assert holds_in_child(is_refused)
    slot.release()


def test_what_a_thread_local_object_releases_in_a_child_stays_the_parents(arena: SlabArena) -> None:
    local, ready, forked = threading.local(), threading.Event(), threading.Event()

    class Session:
        def __init__(self) -> None:
            self.slot = arena.allocate(64)

        def __del__(self) -> None:
            with contextlib.suppress(ArenaClosed):
                self.slot.release()

    def use() -> None:
        local.session = Session()
        ready.set()
        forked.wait(10)

    thread = threading.Thread(target=use)
    thread.start()
    assert ready.wait(10)
    before = arena.get_arena_metrics()
    assert holds_in_child(lambda: True)
    assert arena.get_arena_metrics() == before
    forked.set()
    thread.join()
    assert arena.get_arena_metrics().lent == 0


def test_a_thread_that_ends_with_slots_in_its_thread_local_objects_takes_no_holder_with_it(arena: SlabArena) -> None:
    local = threading.local()

    def use() -> None:
        local.slot = arena.allocate(64)

    for _ in range(20):  # more than there are holders
        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
    assert arena.get_arena_metrics().holders <= 2
    assert arena.get_arena_metrics().lent == 0


def test_wishes_about_pages_that_the_machine_cannot_grant_do_no_harm() -> None:
    with SlabArena.create(None, bytes_max=4 << 20, huge_pages=True, numa_node=999) as arena:
        assert not arena.on_numa_node
        with arena.allocate(3 << 20) as slot:
            slot.array()[:] = 7
    with SlabArena.create(None, bytes_max=4 << 20, numa_node=0) as arena, arena.allocate(64) as slot:
        slot.array()[:] = 7


def test_a_region_of_something_else_is_refused(tmp_path: Path) -> None:
    with (
        LockFreeTxQueue.create(tmp_path / "ring", slots=64, producers=2, buffer_bytes=4096),
        pytest.raises(RegionForeign),
    ):
        SlabArena.attach(tmp_path / "ring")


@pytest.mark.parametrize(("bytes_max", "holders"), [(0, 1), (1 << 38, 1), (1 << 20, 0), (1 << 20, 1 << 17)])
def test_capacities_that_make_no_sense_are_refused(bytes_max: int, holders: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        SlabArena.create(None, bytes_max=bytes_max, holders=holders)


def test_metrics_count_allocations_and_what_is_lent_per_size(arena: SlabArena) -> None:
    slots = [arena.allocate(size) for size in (40, 64, 5000, 70_000)]
    slots.pop(0).release()
    metrics = arena.get_arena_metrics()
    counted = {size.slot_bytes: (size.allocations, size.lent) for size in metrics.classes if size.allocations}
    assert counted == {64: (2, 1), 8192: (1, 1), 0: (1, 1)}
    assert (metrics.allocations, metrics.lent, metrics.refused) == (4, 3, 0)
    assert metrics.run_bytes == 18 * layout.PAGE_BYTES
