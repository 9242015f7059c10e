"""Cache-line latency: the time of a transfer between two processors, which bounds any queue's small frames.

On a virtual machine it varies by a factor of four from minute to minute, with the processors that the host assigns.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadtest.bench.posix_calls import monotonic_ns, sched_yield
from txqueue.jit.atomics import load_acquire, store_release
from txqueue.jit.decorators import kernel

_ROUNDS: Final = 20_000
_LOADS_BEFORE_YIELD: Final = 1 << 12
"""Loads of the line before yielding: the other thread may wait for this processor."""


def cache_line_latency_ns() -> float | None:
    """Nanoseconds one way between this process's first two processors; None where it has only one."""
    processors = sorted(os.sched_getaffinity(0))[:2]
    if len(processors) < 2:
        return None
    line = np.zeros(16, np.uint64)
    with ThreadPoolExecutor(max_workers=2) as pool:
        ponging = pool.submit(_run_pinned, processors[1], _pong, line)
        nanoseconds = pool.submit(_run_pinned, processors[0], _ping, line).result()
        ponging.result()
    return round(nanoseconds / (2 * _ROUNDS), 1)


def _run_pinned(processor: int, loop: Callable[[NDArray[np.uint64]], int], line: NDArray[np.uint64]) -> int:
    """Pin the calling thread, used for nothing else, to a processor: two on one would measure its scheduler."""
    os.sched_setaffinity(0, {processor})
    return int(loop(line))


@kernel
def _wait_for(line: NDArray[np.uint64], value: int) -> None:
    loads = 0
    while load_acquire(line, 0) != value:
        loads += 1
        if loads > _LOADS_BEFORE_YIELD:
            sched_yield()


@kernel
def _ping(line: NDArray[np.uint64]) -> int:
    _wait_for(line, 1)
    began = monotonic_ns()
    for each in range(_ROUNDS):
        store_release(line, 0, 2 * each + 2)
        _wait_for(line, 2 * each + 3)
    return int(monotonic_ns() - began)


@kernel
def _pong(line: NDArray[np.uint64]) -> int:
    store_release(line, 0, 1)
    for each in range(_ROUNDS):
        _wait_for(line, 2 * each + 2)
        store_release(line, 0, 2 * each + 3)
    return 0
