"""Contestants: the interface of a queue in the benchmark, and the producers that it runs."""

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from loadtest.bench.queue.timed_run import LINE_WORDS, SENT, Throughput, Words, shared_words

Kind = Literal["thread", "process"]
KINDS: Final[tuple[Kind, ...]] = ("thread", "process")
PERCENTILES: Final = (50.0, 99.0, 99.9)

_SAMPLES: Final = 1 << 17
"""Samples that are kept, over all producers; each keeps its last."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination of parameters: a row of the report for each queue."""

    kind: Kind
    producers: int
    batch: int


@dataclass(frozen=True, slots=True)
class Timing:
    """Duration of a run, and whether single operations are timed, which slows them down."""

    warmup_s: float
    measured_s: float
    timed: bool = False


@dataclass(frozen=True, slots=True)
class Measurement:
    """The result of a run."""

    throughput: Throughput
    percentiles_ns: tuple[float, ...] | None = None
    """PERCENTILES of enqueuing one record, without the timer's own time, which may leave 0. Attempts at a full queue
    are left out: the consumer determines how long those take.
    """


class Contestant(Protocol):
    """A queue in the benchmark."""

    @property
    def name(self) -> str:
        """As in the report."""

    def supports(self, cell: Cell) -> bool:
        """Whether the queue can be used with these parameters."""

    def run(self, cell: Cell, timing: Timing) -> Measurement:
        """Run once, and verify that every record arrived exactly once.

        Raises:
            RecordsLost: one did not.
        """


def make_samples(cell: Cell, timing: Timing) -> NDArray[np.uint64]:
    """uint64[producers, n] for the times of single operations, n a power of two, or 0 without timing."""
    each = samples_each(cell.producers) if timing.timed else 0
    return shared_words(cell.producers * each)[: cell.producers * each].reshape(cell.producers, each)


def samples_each(producers: int) -> int:
    """Samples that each producer keeps, a power of two."""
    return max(1, _SAMPLES >> (producers - 1).bit_length())


def percentiles(samples: NDArray[np.uint64], control: Words, timer_ns: float) -> tuple[float, ...] | None:
    """PERCENTILES of the operations that were timed, one record each."""
    if samples.shape[1] == 0:
        return None
    kept = [row[: int(control[SENT + number * LINE_WORDS])] for number, row in enumerate(samples)]
    return percentiles_less_timer(np.concatenate(kept), timer_ns)


def percentiles_less_timer(samples: NDArray[np.uint64], timer_ns: float) -> tuple[float, ...]:
    """PERCENTILES of samples in nanoseconds."""
    return tuple(max(0.0, float(figure) - timer_ns) for figure in np.percentile(samples, PERCENTILES))


@contextmanager
def running(kind: Kind, producers: int, work: Callable[[int], None]) -> Iterator[None]:
    """Call ``work(number)`` for each producer in a thread or in a forked process, and wait for them at the end.

    Forking keeps 256 processes affordable, and is safe because this process runs no other thread at that moment.
    """
    worker_class = threading.Thread if kind == "thread" else multiprocessing.get_context("fork").Process
    workers = [worker_class(target=work, args=(number,), daemon=True) for number in range(producers)]
    for worker in workers:
        worker.start()
    yield
    for worker in workers:
        worker.join()
