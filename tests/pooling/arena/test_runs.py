"""Runs of pages that were returned are cached for their next use, and in nobody's way."""

from collections.abc import Iterator
from itertools import permutations
from typing import Final

import pytest

from pooling.arena.errors import ArenaFull
from pooling.arena.holder import Holder
from pooling.arena.kernel import layout, operations, slow_path
from pooling.arena.slab_arena import SlabArena
from tests.pooling.arena.audit import audit

PAGES: Final = 512
"""Of the arena."""


@pytest.fixture
def arena() -> Iterator[SlabArena]:
    with SlabArena.create(None, bytes_max=PAGES * layout.PAGE_BYTES, holders=3) as arena:
        yield arena


@pytest.fixture
def holder(arena: SlabArena) -> Holder:
    return arena.register()


def lend(holder: Holder, pages: int) -> int:
    return int(operations.allocate(holder.words, holder.index, pages * layout.PAGE_BYTES))


def take_back(holder: Holder, *handles: int) -> None:
    for handle in handles:
        assert operations.free(holder.words, holder.index, handle) == 0


def offset_of(handle: int) -> int:
    return handle & layout.LOW_MASK


def test_a_cached_run_is_lent_to_whoever_asks_for_as_many_pages_and_to_nobody_else(holder: Holder) -> None:
    runs = {pages: lend(holder, pages) for pages in (5, 6, 7, 64)}
    take_back(holder, *runs.values())
    assert audit(holder.words).cached_runs == 4
    for pages in (4 + 1, 64, 7, 8):
        handle = lend(holder, pages)
        assert (offset_of(handle) == offset_of(runs.get(pages, 0))) == (pages != 8)
        assert operations.adopt(holder.words, holder.index, handle) == pages * layout.PAGE_BYTES
    assert audit(holder.words).cached_runs == 1


def test_a_run_is_cached_with_the_length_it_was_lent_with(holder: Holder) -> None:
    for order in permutations((5, 6, 7, 65)):
        lent = {pages: lend(holder, pages) for pages in order}
        for left, pages in zip((3, 2, 1, 0), (7, 65, 5, 6), strict=True):
            take_back(holder, lent[pages])
            assert audit(holder.words).lent.total() == left  # it compares the lengths


def test_of_several_runs_of_a_length_the_one_returned_last_is_lent_first(holder: Holder) -> None:
    first, second = lend(holder, 5), lend(holder, 5)
    take_back(holder, second, first)
    assert [offset_of(lend(holder, 5)), offset_of(lend(holder, 5))] == [offset_of(first), offset_of(second)]


def test_the_run_returned_longest_ago_makes_way_and_larger_ones_are_never_cached(holder: Holder) -> None:
    runs = [lend(holder, 5) for _ in range(layout.RUNS_CACHED_MAX + 2)]
    take_back(holder, *runs)
    found = audit(holder.words)
    assert (found.cached_runs, found.free_pages) == (layout.RUNS_CACHED_MAX, PAGES - layout.RUNS_CACHED_MAX * 5)
    lent = [offset_of(lend(holder, 5)) for _ in range(layout.RUNS_CACHED_MAX)]
    assert lent == [offset_of(run) for run in reversed(runs[2:])]
    take_back(holder, lend(holder, layout.RUN_PAGES_CACHED_MAX + 1))
    assert audit(holder.words).cached_runs == 0


@pytest.mark.parametrize("whose", ["one's own", "another's"])
@pytest.mark.parametrize("wanted", ["a run", "a slab"])
def test_whoever_finds_no_room_takes_the_runs_that_anybody_has_cached(
    arena: SlabArena, holder: Holder, whose: str, wanted: str
) -> None:
    with arena.register() as other:
        keeper = holder if whose == "one's own" else other
        take_back(keeper, *[lend(keeper, 64) for _ in range(PAGES // 64)])
        assert audit(arena.words).cached_runs == layout.RUNS_CACHED_MAX
        rest = [lend(holder, 32) for _ in range(2)]
        assert audit(arena.words).free_pages == 0
        got = lend(holder, layout.RUNS_CACHED_MAX * 64 if wanted == "a run" else 1)
        assert got > 0
        assert audit(arena.words).cached_runs == 0
        take_back(holder, got, *rest)
        again = lend(keeper, 64)  # its packed runs are void
        assert audit(arena.words).lent.total() == 1
        take_back(keeper, again)


def test_a_return_by_another_holder_caches_the_run_there(arena: SlabArena, holder: Holder) -> None:
    with arena.register() as other:
        run = lend(holder, 9)
        take_back(other, run)
        assert audit(arena.words).cached == {other.index: 1}
        assert offset_of(lend(holder, 9)) != offset_of(run)
        assert offset_of(lend(other, 9)) == offset_of(run)
        assert arena.get_arena_metrics().adopted == 1


def test_every_return_makes_the_handles_before_void(holder: Holder) -> None:
    past: list[int] = []
    for _ in range(5):
        handle = lend(holder, 9)
        assert offset_of(handle) == offset_of((past or [handle])[0])
        for returned in (False, True):
            if returned:
                take_back(holder, handle)
                past.append(handle)
            for void in past:
                assert operations.free(holder.words, holder.index, void) == slow_path.RETURNED
                assert operations.adopt(holder.words, holder.index, void) == slow_path.RETURNED
    assert len(set(past)) == 5


def test_a_holder_that_is_flushed_or_closed_frees_its_runs(arena: SlabArena, holder: Holder) -> None:
    take_back(holder, lend(holder, 5), lend(holder, 6))
    assert holder.flush() == 2
    assert audit(arena.words).free_pages == PAGES
    take_back(holder, lend(holder, 5))
    lend(holder, 6)
    holder.close()
    assert audit(arena.words).free_pages == PAGES


def test_metrics_tell_cached_runs_from_lent_ones(arena: SlabArena, holder: Holder) -> None:
    lend(holder, 10)
    take_back(holder, lend(holder, 5), lend(holder, 6))
    lend(holder, 6)
    metrics = arena.get_arena_metrics()
    assert metrics.run_bytes == 21 * layout.PAGE_BYTES
    assert metrics.cached_bytes == 5 * layout.PAGE_BYTES
    assert metrics.free_bytes == (PAGES - 21) * layout.PAGE_BYTES
    assert (metrics.classes[-1].allocations, metrics.classes[-1].lent) == (4, 2)


def test_what_a_thread_has_cached_is_in_no_other_threads_way(arena: SlabArena, holder: Holder) -> None:
    for pages in (64, 16, 50):
        slots = [arena.allocate(pages * layout.PAGE_BYTES) for _ in range(PAGES // pages)]
        with pytest.raises(ArenaFull):
            arena.allocate(pages * layout.PAGE_BYTES)
        handles = [slot.hand_over() for slot in slots]
        take_back(holder, *handles)
        assert audit(arena.words).cached_runs == layout.RUNS_CACHED_MAX
