"""Timed loops in Python: objects from the project's pools, from a lock-based pool, and made anew."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from loadtest.bench.pool.locked_pool import LockedPool
from loadtest.bench.timed_loop import Row, TimedLoop, measure
from pooling.arena.slab_arena import SlabArena
from pooling.arena.slot import Slot
from pooling.core.factory import CallableFactory
from pooling.core.pool_options import PoolOptions
from pooling.manager import ObjectPoolManager

_BATCH: Final = 100  # pairs per sample
_POOLED_BYTES: Final = 4096  # of a pooled object, whose size is all one to a pool
GENERIC_POOL: Final = "penstock pool"
_MAKERS: Final[dict[str, Callable[[int], Any]]] = {
    "python bytearray": bytearray,
    "numpy empty": partial(np.empty, dtype=np.uint8),
}


def python_rows(sizes: list[int], threads: list[int], seconds: float) -> Iterator[Row]:
    """Measure every source of objects with every number of threads; new objects also in every size."""
    for impl, make in _MAKERS.items():
        for size in sizes:
            for count in threads:
                figures = measure([_make_and_drop(make, size)] * count, _BATCH, seconds)
                yield Row(impl, "make + drop", size, count, *figures)
    for count in threads:
        for impl, loop in _pools(count):
            yield Row(impl, "borrow + return", _POOLED_BYTES, count, *measure([loop] * count, _BATCH, seconds))


def _pools(borrowers: int) -> Iterator[tuple[str, TimedLoop]]:
    """Pools that hold an object for each borrower from the start: no borrow waits or makes one."""
    make = partial(bytearray, _POOLED_BYTES)
    manager = ObjectPoolManager(bytes_max=_POOLED_BYTES * borrowers)
    options = PoolOptions(max_total=borrowers, idle_min=borrowers)
    pool = manager.create_pool("bench", CallableFactory(make), options, object_bytes=_POOLED_BYTES)
    pool.prepare(borrowers)
    yield GENERIC_POOL, _borrow_and_return(pool.borrow_object, pool.return_object)
    by_name = partial(manager.borrow_object, "bench"), partial(manager.return_object, "bench")
    yield "penstock manager", _borrow_and_return(*by_name)
    arena = SlabArena.create(None, bytes_max=_POOLED_BYTES * borrowers * 64)
    yield "penstock arena, Python", _borrow_and_return(partial(arena.allocate, _POOLED_BYTES), Slot.release)
    locked = LockedPool(make, borrowers)
    for item in [locked.borrow_object() for _ in range(borrowers)]:
        locked.return_object(item)
    yield "locked pool", _borrow_and_return(locked.borrow_object, locked.return_object)


def _borrow_and_return(borrow: Callable[[], Any], give_back: Callable[[Any], None]) -> TimedLoop:
    def loop(end_ns: int, samples: NDArray[np.uint64]) -> int:
        clock, batch, count = time.monotonic_ns, range(_BATCH), 0
        before_ns = clock()
        while before_ns < end_ns:
            for _ in batch:
                give_back(borrow())
            after_ns = clock()
            samples[count % samples.size] = after_ns - before_ns
            count += 1
            before_ns = after_ns
        return count

    return loop


def _make_and_drop(make: Callable[[int], Any], size: int) -> TimedLoop:
    def loop(end_ns: int, samples: NDArray[np.uint64]) -> int:
        clock, batch, count = time.monotonic_ns, range(_BATCH), 0
        before_ns = clock()
        while before_ns < end_ns:
            for _ in batch:
                make(size)
            after_ns = clock()
            samples[count % samples.size] = after_ns - before_ns
            count += 1
            before_ns = after_ns
        return count

    return loop
