"""A magazine of large slots grows for a thread that cycles through many of them, and for nobody else."""

from collections.abc import Iterator

import pytest

from pooling.arena.holder import Holder
from pooling.arena.kernel import layout, operations
from pooling.arena.kernel.recovery import release_holder
from pooling.arena.slab_arena import SlabArena
from tests.pooling.arena.audit import audit

LARGE_SLOTS = [4096, 8192, 16384]


@pytest.fixture
def arena() -> Iterator[SlabArena]:
    with SlabArena.create(None, bytes_max=16 << 20, holders=3) as arena:
        yield arena


@pytest.fixture
def holder(arena: SlabArena) -> Holder:
    return arena.register()


def lend(holder: Holder, byte_count: int, count: int) -> list[int]:
    handles = [int(operations.allocate(holder.words, holder.index, byte_count)) for _ in range(count)]
    assert min(handles) > 0
    return handles


def take_back(holder: Holder, handles: list[int]) -> None:
    for handle in handles:
        assert operations.free(holder.words, holder.index, handle) == 0


def misses(arena: SlabArena) -> int:
    metrics = arena.get_arena_metrics()
    return metrics.refills + metrics.flushes


def limit(holder: Holder, byte_count: int) -> int:
    magazines = layout.HOLDERS_AT + holder.index * layout.HOLDER_WORDS + layout.MAGAZINES
    size_class = (byte_count // layout.GRANULE_BYTES).bit_length()
    return int(holder.words[magazines + (size_class - 1) * layout.MAGAZINE_WORDS + layout.LIMIT])


@pytest.mark.parametrize("byte_count", LARGE_SLOTS)
def test_a_thread_that_goes_on_cycling_through_a_hundred_slots_stops_missing(
    arena: SlabArena, holder: Holder, byte_count: int
) -> None:
    for _ in range(6):
        take_back(holder, lend(holder, byte_count, 100))
        audit(arena.words)
    before = misses(arena)
    for _ in range(20):
        take_back(holder, lend(holder, byte_count, 100))
    assert misses(arena) == before


@pytest.mark.parametrize("byte_count", [64, *LARGE_SLOTS])
def test_a_magazine_grows_as_far_as_it_has_room_and_no_further(
    arena: SlabArena, holder: Holder, byte_count: int
) -> None:
    for _ in range(12):
        lent = lend(holder, byte_count, 3 * layout.MAGAZINE_SLOTS_MAX)
        audit(arena.words)  # a larger one would now overflow into its neighbour
        take_back(holder, lent)
        found = audit(arena.words)
        assert not found.lent
    assert limit(holder, byte_count) == layout.MAGAZINE_SLOTS_MAX
    assert found.cached[holder.index] <= layout.MAGAZINE_SLOTS_MAX


@pytest.mark.parametrize("byte_count", LARGE_SLOTS)
def test_threads_that_only_lend_or_only_take_back_cache_no_more_than_at_first(
    arena: SlabArena, holder: Holder, byte_count: int
) -> None:
    with arena.register() as other:
        for _ in range(6):
            take_back(other, lend(holder, byte_count, 100))
            found = audit(arena.words)
            for one in (holder, other):
                assert limit(one, byte_count) * byte_count == layout.INITIAL_LIMIT_BYTES
                assert found.cached[one.index] * byte_count <= layout.INITIAL_LIMIT_BYTES


@pytest.mark.parametrize("end", ["flushed", "closed", "recovered"])
def test_a_grown_magazine_is_small_again_once_its_holder_is(arena: SlabArena, holder: Holder, end: str) -> None:
    for _ in range(6):
        take_back(holder, lend(holder, 16384, 100))
    assert limit(holder, 16384) == layout.MAGAZINE_SLOTS_MAX
    if end == "flushed":
        assert holder.flush() > 0
    elif end == "closed":
        holder.close()
        holder = arena.register()
    else:
        release_holder(arena.words, holder.index)
    assert not audit(arena.words).cached
    take_back(holder, lend(holder, 16384, 100))
    assert audit(arena.words).cached[holder.index] * 16384 <= layout.INITIAL_LIMIT_BYTES
