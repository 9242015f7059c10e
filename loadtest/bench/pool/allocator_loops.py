"""Timed loops of one allocator, compiled, in a process of its own so that LD_PRELOAD can choose the allocator.

jemalloc has thread-local data that only a library loaded at the start can have, so loading it later is no way. The
argument is a plan in JSON: ``impl``, ``sizes``, ``threads``, ``seconds``. Prints the rows as JSON.
"""

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadtest.bench.pool.arena_loops import REFUSED, arena_by_batch, arena_one_by_one
from loadtest.bench.pool.malloc_loops import BATCH, malloc_by_batch, malloc_one_by_one
from loadtest.bench.timed_loop import Row, TimedLoop, measure
from pooling.arena.slab_arena import SlabArena

ARENA: Final = "penstock arena"
ONE_BY_ONE: Final = "allocate + free"
BY_BATCH: Final = f"allocate {BATCH}, free {BATCH}"

_ARENA_BYTES: Final = 4 << 30  # sparse: the most that 64 threads hold at once, several times over

MakeLoop = Callable[[int], TimedLoop]  # of a size in bytes, for one thread


def allocation_rows(impl: str, sizes: list[int], threads: list[int], seconds: float) -> list[Row]:
    """Measure both ways of allocating in all sizes, with all numbers of threads."""
    if impl != ARENA:
        return _rows(impl, {ONE_BY_ONE: _malloc_one_by_one, BY_BATCH: _malloc_by_batch}, sizes, threads, seconds)
    with SlabArena.create(None, bytes_max=_ARENA_BYTES) as arena:
        loops: dict[str, MakeLoop] = {
            ONE_BY_ONE: partial(_arena_one_by_one, arena),
            BY_BATCH: partial(_arena_by_batch, arena),
        }
        return _rows(impl, loops, sizes, threads, seconds)


def _rows(impl: str, loops: dict[str, MakeLoop], sizes: list[int], threads: list[int], seconds: float) -> list[Row]:
    for make_loop in loops.values():
        make_loop(sizes[0])(time.monotonic_ns() + 1, np.zeros(1, np.uint64))  # loads the code before a clock starts
    return [
        Row(impl, what, size, count, *measure([make_loop(size) for _ in range(count)], BATCH, seconds))
        for what, make_loop in loops.items()
        for size in sizes
        for count in threads
    ]


def _malloc_one_by_one(size: int) -> TimedLoop:
    def loop(end_ns: int, samples: NDArray[np.uint64]) -> int:
        clock = np.zeros(2, np.uint64)
        return int(malloc_one_by_one(size, end_ns, samples, clock, clock.ctypes.data))

    return loop


def _malloc_by_batch(size: int) -> TimedLoop:
    def loop(end_ns: int, samples: NDArray[np.uint64]) -> int:
        clock, live = np.zeros(2, np.uint64), np.zeros(BATCH, np.uint64)
        return int(malloc_by_batch(size, end_ns, samples, live, clock, clock.ctypes.data))

    return loop


def _arena_one_by_one(arena: SlabArena, size: int) -> TimedLoop:
    holder = arena.register()

    def loop(end_ns: int, samples: NDArray[np.uint64]) -> int:
        clock = np.zeros(2, np.uint64)
        count = arena_one_by_one(holder.words, holder.index, size, end_ns, samples, clock, clock.ctypes.data)
        assert count != REFUSED
        return int(count)

    return loop


def _arena_by_batch(arena: SlabArena, size: int) -> TimedLoop:
    holder = arena.register()

    def loop(end_ns: int, samples: NDArray[np.uint64]) -> int:
        clock, live = np.zeros(2, np.uint64), np.zeros(BATCH, np.uint64)
        count = arena_by_batch(holder.words, holder.index, size, end_ns, samples, live, clock, clock.ctypes.data)
        assert count != REFUSED
        return int(count)

    return loop


if __name__ == "__main__":
    sys.stdout.write(json.dumps([row.as_dict() for row in allocation_rows(**json.loads(sys.argv[1]))]))
