"""How long a cache line takes from one processor to another: what small frames cost, whatever the queue.

On a virtual machine it changes by a factor of four from minute to minute, with the processors that the host lends it.
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
_PATIENCE: Final = 1 << 12
"""Looks at the line before the processor is given away: to somebody else's work, which the other thread waits for."""


def cache_line_latency_ns() -> float | None:
    """Nanoseconds that a line takes one way between this process's first two processors; None where it has but one."""
    processors = sorted(os.sched_getaffinity(0))[:2]
    if len(processors) < 2:
        return None
    line = np.zeros(16, np.uint64)
    with ThreadPoolExecutor(max_workers=2) as pool:
        returning = pool.submit(_on, processors[1], _return_it, line)
        nanoseconds = pool.submit(_on, processors[0], _send_it, line).result()
        returning.result()
    return round(nanoseconds / (2 * _ROUNDS), 1)


def _on(processor: int, loop: Callable[[NDArray[np.uint64]], int], line: NDArray[np.uint64]) -> int:
    """Keeps the calling thread, which is of no other use, to a processor: two that share one measure its scheduler."""
    os.sched_setaffinity(0, {processor})
    return int(loop(line))


@kernel
def _wait_for(line: NDArray[np.uint64], value: int) -> None:
    looks = 0
    while load_acquire(line, 0) != value:
        looks += 1
        if looks > _PATIENCE:
            sched_yield()


@kernel
def _send_it(line: NDArray[np.uint64]) -> int:
    _wait_for(line, 1)
    began = monotonic_ns()
    for each in range(_ROUNDS):
        store_release(line, 0, 2 * each + 2)
        _wait_for(line, 2 * each + 3)
    return int(monotonic_ns() - began)


@kernel
def _return_it(line: NDArray[np.uint64]) -> int:
    store_release(line, 0, 1)
    for each in range(_ROUNDS):
        _wait_for(line, 2 * each + 2)
        store_release(line, 0, 2 * each + 3)
    return 0
