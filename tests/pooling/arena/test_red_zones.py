"""In debug mode, writes to where they do not belong are found, and somebody is named."""

import os
from collections.abc import Iterator

import numpy as np
import pytest

from pooling.arena.errors import SlotDamaged, SlotReturned
from pooling.arena.slab_arena import SlabArena


@pytest.fixture
def arena() -> Iterator[SlabArena]:
    with SlabArena.create(None, bytes_max=4 << 20, holders=4, debug=True) as arena:
        yield arena


def beyond(arena: SlabArena, start: int, byte_count: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """Bytes of the heap that nobody was lent: as if by a stray pointer."""
    return arena._heap[start : start + byte_count]


def offset(arena: SlabArena, handle: int) -> int:
    return (handle & 0xFFFFFFFF) * 32


@pytest.mark.parametrize("byte_count", [1, 7, 8, 15, 16, 17, 48, 100, 1000, 16368, 16369, 100_000])
def test_every_byte_behind_a_slot_is_watched(arena: SlabArena, byte_count: int) -> None:
    for distance in (0, 1, 7, 8, 15):
        slot = arena.allocate(byte_count)
        slot.array()[:] = 255
        stray = beyond(arena, offset(arena, slot.handle) + byte_count + distance, 1)
        stray[:] ^= 1
        with pytest.raises(SlotDamaged, match=f"broken red zone.*by process {os.getpid()}"):
            slot.release()
    with arena.allocate(byte_count) as slot:
        slot.array()[:] = 255
    assert arena.get_arena_metrics().lent == 0


def test_writing_in_front_of_a_slot_damages_its_neighbour(arena: SlabArena) -> None:
    slots = sorted((arena.allocate(100) for _ in range(2)), key=lambda slot: slot.handle & 0xFFFFFFFF)
    beyond(arena, offset(arena, slots[1].handle) - 1, 1)[:] = 0
    slots[1].release()
    with pytest.raises(SlotDamaged):
        slots[0].release()


@pytest.mark.parametrize("where", [0, 5, 99, 111])
def test_writing_to_a_returned_slot_is_found_when_it_is_lent_again(arena: SlabArena, where: int) -> None:
    slot = arena.allocate(100)
    start = offset(arena, slot.handle)
    slot.release()
    beyond(arena, start + where, 1)[:] = 1
    with pytest.raises(SlotDamaged, match=f"written to after it had been returned by process {os.getpid()}"):
        arena.allocate(100)
    arena.allocate(100).release()


def test_writing_to_a_returned_run_is_found_when_it_is_lent_again(arena: SlabArena) -> None:
    slot = arena.allocate(100_000)
    start = offset(arena, slot.handle)
    slot.release()
    assert not arena.get_arena_metrics().lent
    beyond(arena, start + 70_000, 1)[:] = 1
    with pytest.raises(SlotDamaged, match=f"written to after it had been returned by process {os.getpid()}"):
        arena.allocate(100_000)
    again = arena.allocate(100_000)
    assert offset(arena, again.handle) == start


def test_returned_bytes_are_poisoned(arena: SlabArena) -> None:
    slot = arena.allocate(100)
    slot.array()[:] = 1
    start = offset(arena, slot.handle)
    slot.release()
    assert not (beyond(arena, start, 100) == 1).any()


def test_returning_twice_is_found_for_slots_and_runs(arena: SlabArena) -> None:
    for byte_count in (100, 100_000):
        handle = arena.allocate(byte_count).hand_over()
        arena.free(handle)
        with pytest.raises(SlotReturned):
            arena.free(handle)
