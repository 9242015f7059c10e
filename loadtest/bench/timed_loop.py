"""Timed loops: one operation repeated by several threads at once, with the time of each batch."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

SAMPLES: Final = 50_000  # kept per thread; later ones replace the first
_READY_S: Final = 0.002  # for all threads to wait for the start

TimedLoop = Callable[[int, NDArray[np.uint64]], int]
"""``loop(end_ns, samples) -> batches``: repeats until ``end_ns`` of the monotonic clock, and writes each batch's
nanoseconds into ``samples``, from the start again where it is full."""


@dataclass(frozen=True, slots=True)
class Row:
    """A measurement. One operation is a pair: allocation and free, or borrow and return."""

    impl: str
    what: str
    size: int  # bytes
    threads: int
    p50_ns: float
    p99_ns: float
    ops_per_s: float  # of all threads together

    def as_dict(self) -> dict[str, Any]:
        """Return the row for JSON."""
        figures = asdict(self)
        return {**figures, **{name: round(figures[name], 1) for name in ("p50_ns", "p99_ns", "ops_per_s")}}


def measure(loops: Sequence[TimedLoop], batch: int, seconds: float) -> tuple[float, float, float]:
    """Run loops at once, each in a thread of its own.

    Returns:
        p50 and p99 in nanoseconds per operation, of which a batch has ``batch``, and operations per second.
    """
    threads = len(loops)
    samples = [np.zeros(SAMPLES, np.uint64) for _ in range(threads)]
    counts = [0] * threads
    ready, start = threading.Barrier(threads + 1), threading.Event()
    end_ns = 0

    def run(index: int) -> None:
        ready.wait()
        start.wait()
        counts[index] = loops[index](end_ns, samples[index])

    workers = [threading.Thread(target=run, args=(index,)) for index in range(threads)]
    for worker in workers:
        worker.start()
    ready.wait()
    time.sleep(_READY_S)
    end_ns = time.monotonic_ns() + int(seconds * 1e9)
    start.set()
    for worker in workers:
        worker.join()
    taken = np.concatenate([taken[: min(count, SAMPLES)] for taken, count in zip(samples, counts, strict=True)])
    assert taken.size > 0, "no thread finished a batch: the measurement is too short"
    p50, p99 = np.quantile(taken, [0.5, 0.99]) / batch
    return float(p50), float(p99), sum(counts) * batch / seconds
