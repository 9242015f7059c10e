"""Many threads and processes lend and return at once: no slot is anybody else's, none is lost."""

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import types
from numpy.typing import NDArray

from pooling.arena.kernel import layout, operations
from pooling.arena.slab_arena import SlabArena
from tests.eventually import eventually
from tests.pooling.arena.audit import audit
from txqueue.jit.atomics import cas, load_acquire, store_release
from txqueue.jit.decorators import WORDS, entry, load

LENT_MAX = 300
"""Slots that a churning thread has at a time: more than a magazine caches."""
SIZES = np.array([32, 100, 1024, 4096, 16384, 20_000, 20_000, 60_000], np.uint64)


@entry(WORDS, types.int64, WORDS, WORDS, types.int64, types.int64)
def churn(words: Any, holder: Any, handles: Any, sizes: Any, seed: Any, rounds: Any) -> Any:
    """Lends, marks, checks and returns slots of random sizes; returns the errors seen, and empties ``handles``."""
    state = np.uint64(seed)
    wrong = 0
    for _ in range(rounds):
        state = state * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
        index = np.int64((state >> np.uint64(33)) % np.uint64(handles.size))
        handle: Any = np.int64(handles[index])
        if handle != 0:
            first = operations.first_word(words, handle)
            wrong += np.int64(words[first]) != handle or words[first + 3] != np.uint64(seed)
            words[first + 3] = np.uint64(0)
            wrong += operations.free(words, holder, handle) != 0
            handles[index] = 0
        else:
            size = sizes[np.int64((state >> np.uint64(20)) % np.uint64(sizes.size))]
            handle = np.int64(operations.allocate(words, holder, np.int64(size)))
            if handle > 0:
                first = operations.first_word(words, handle)
                words[first] = np.uint64(handle)
                words[first + 3] = np.uint64(seed)
                handles[index] = handle
    for left in range(handles.size):
        if handles[left] != 0:
            wrong += operations.free(words, holder, np.int64(handles[left])) != 0
    return wrong


@entry(WORDS, types.int64, WORDS, types.int64, types.int64)
def send(words: Any, holder: Any, boxes: Any, rounds: Any, byte_count: Any) -> Any:
    """Lends slots and puts their handles into boxes."""
    for number in range(rounds):
        box = number % boxes.size
        while load_acquire(boxes, box) != 0:
            pass
        handle = operations.allocate(words, holder, byte_count)
        if handle < 0:
            return handle
        words[operations.first_word(words, handle)] = handle
        store_release(boxes, box, np.uint64(handle))
    return 0


@entry(WORDS, types.int64, WORDS, types.int64)
def receive(words: Any, holder: Any, boxes: Any, rounds: Any) -> Any:
    """Takes handles out of the boxes and returns their slots."""
    wrong = 0
    for number in range(rounds):
        box = number % boxes.size
        while load_acquire(boxes, box) == 0:
            pass
        handle = load_acquire(boxes, box)
        cas(boxes, box, handle, np.uint64(0))
        wrong += words[operations.first_word(words, np.int64(handle))] != handle
        wrong += operations.free(words, holder, np.int64(handle)) != 0
    return wrong


@entry(WORDS, types.int64, WORDS, types.int64, types.int64)
def batches(words: Any, holder: Any, handles: Any, rounds: Any, byte_count: Any) -> Any:
    """Lends as many slots as ``handles`` has room for, then returns them, first come first; returns the errors seen."""
    wrong = 0
    for _ in range(rounds):
        for index in range(handles.size):
            handles[index] = operations.allocate(words, holder, byte_count)
        for index in range(handles.size):
            wrong += operations.free(words, holder, np.int64(handles[index])) != 0
    return wrong


def churn_some(arena: SlabArena, seed: int, rounds: int) -> int:
    with arena.register() as holder:
        return int(churn(arena.words, holder.index, np.zeros(LENT_MAX, np.uint64), SIZES, seed, rounds))


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> None:
    load(operations.allocate, operations.free, operations.adopt)
    load(churn, batches, send, receive)


def assert_all_came_back(arena: SlabArena) -> None:
    assert arena.get_arena_metrics().lent == 0
    arena.trim()
    found = audit(arena.words)
    assert not found.lent
    assert not found.cached
    assert found.free_pages == arena.bytes_max // layout.PAGE_BYTES


@pytest.mark.parametrize("bytes_max", [64 << 20, 2 << 20], ids=["roomy", "often full"])
def test_threads_never_share_a_slot(bytes_max: int) -> None:
    with SlabArena.create(None, bytes_max=bytes_max, holders=16) as arena, ThreadPoolExecutor(8) as pool:
        wrong = pool.map(lambda seed: churn_some(arena, seed, 100_000), range(1, 9))
        assert list(wrong) == [0] * 8
        assert_all_came_back(arena)


def test_runs_that_come_and_go_do_not_wander_through_all_of_the_heap() -> None:
    kept, byte_count = 100, 65_536
    with SlabArena.create(None, bytes_max=4 << 30, holders=4) as arena, ThreadPoolExecutor(2) as pool:
        holders = [arena.register() for _ in range(2)]
        arena.allocate(byte_count).hand_over()
        wrong = [
            pool.submit(batches, arena.words, holder.index, np.zeros(kept, np.uint64), 3_000, byte_count)
            for holder in holders
        ]
        assert [found.result(60) for found in wrong] == [0, 0]
        needed_pages = (2 * kept + 1) * byte_count // layout.PAGE_BYTES
        assert int(arena.words[layout.PAGES_USED]) < 40 * needed_pages < arena.bytes_max // layout.PAGE_BYTES // 8


@pytest.mark.parametrize("byte_count", [64, 16384, 30_000])
def test_slots_lent_by_one_thread_and_returned_by_another_all_come_back(byte_count: int) -> None:
    rounds = 20_000
    boxes: NDArray[np.uint64] = np.zeros(64, np.uint64)
    with SlabArena.create(None, bytes_max=16 << 20, holders=4) as arena:
        with arena.register() as one, arena.register() as other, ThreadPoolExecutor(2) as pool:
            sent = pool.submit(send, arena.words, one.index, boxes, rounds, byte_count)
            received = pool.submit(receive, arena.words, other.index, boxes, rounds)
            assert (sent.result(60), received.result(60)) == (0, 0)
            assert arena.get_arena_metrics().adopted == rounds
        assert_all_came_back(arena)


def in_child(work: Callable[[], object]) -> int:
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return child


def until_allocated(arena: SlabArena, count: int) -> None:
    moment = arena.get_arena_metrics().allocations + count
    eventually(lambda: arena.get_arena_metrics().allocations >= moment, f"the allocation of {count} slots")


def test_killing_borrowers_at_random_moments_leaks_nothing() -> None:
    random = np.random.default_rng(4)
    with SlabArena.create(None, bytes_max=8 << 20, holders=8) as arena:
        keeper = arena.allocate(5000)
        keeper.array()[:] = 9
        for _ in range(15):
            children = [in_child(lambda: churn_some(arena, os.getpid(), 1 << 40)) for _ in range(3)]
            eventually(lambda: arena.get_arena_metrics().holders == 4, "the registration of all children")
            until_allocated(arena, int(random.integers(0, 1_000_000)))
            for child in children:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            assert arena.recover_dead() > 0
            found = audit(arena.words)
            assert found.lent.total() == 1
            assert arena.get_arena_metrics().lent == 1
        assert (keeper.array() == 9).all()
        keeper.release()
        assert_all_came_back(arena)


SIZE = st.sampled_from([1, 33, 500, 3000, 16384, 16385, 90_000])
HOLDER = st.integers(0, 2)
NUMBER = st.integers(0, 1000)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("allocate"), HOLDER, SIZE),
            st.tuples(st.sampled_from(["free", "again", "adopt"]), HOLDER, NUMBER),
            st.tuples(st.just("die"), HOLDER, st.just(0)),
        ),
        max_size=60,
    )
)
def test_any_sequence_of_operations_lends_disjoint_bytes_and_loses_none(steps: list[tuple[str, int, int]]) -> None:
    arena = SlabArena.create(None, bytes_max=1 << 20, holders=3)
    words = arena.words
    holders = [arena.register() for _ in range(3)]
    lent: dict[int, tuple[int, int]] = {}  # holder and bytes by handle
    gone: list[int] = []
    for what, who, number in steps:
        holder = holders[who].index
        chosen = sorted(lent)[number % len(lent)] if lent and what in ("free", "adopt") else 0
        if what == "allocate" and (handle := int(operations.allocate(words, holder, number))) > 0:
            lent[handle] = (who, number)
        elif what == "free" and chosen:
            assert operations.free(words, holder, chosen) == 0
            del lent[chosen]
            gone.append(chosen)
        elif what == "again" and gone:
            assert operations.free(words, holder, gone[number % len(gone)]) < 0
        elif what == "adopt" and chosen:
            assert operations.adopt(words, holder, chosen) >= lent[chosen][1]
            lent[chosen] = (who, lent[chosen][1])
        elif what == "die":
            holders[who].close()
            holders[who] = arena.register()
            gone += [handle for handle, (whose, _) in lent.items() if whose == who]
            lent = {handle: (whose, size) for handle, (whose, size) in lent.items() if whose != who}
        audit(words)
    spans = sorted(((handle & layout.LOW_MASK) * 32, size) for handle, (_, size) in lent.items())
    assert all(start + size <= after for (start, size), (after, _) in pairwise(spans))
    assert audit(words).lent.total() == len(lent)
    for handle in lent:
        assert operations.free(words, holders[0].index, handle) == 0
    assert audit(words).lent.total() == 0
