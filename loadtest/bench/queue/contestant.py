"""What takes part in the benchmark of queues, and how its producers are run."""

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
"""Timed operations that are kept, over all producers: each one's last."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What a row of the report is about."""

    kind: Kind
    producers: int
    batch: int


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a run takes, and whether its operations are timed, which makes them slower."""

    warmup_s: float
    measured_s: float
    timed: bool = False


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a run showed."""

    throughput: Throughput
    percentiles_ns: tuple[float, ...] | None = None
    """PERCENTILES of putting in one record, less what the timer itself takes, which may leave 0. Vain tries are left
    out: how long a full queue makes one wait is the consumer's doing.
    """


class Contestant(Protocol):
    """A queue in the benchmark."""

    @property
    def name(self) -> str:
        """As in the report."""

    def supports(self, cell: Cell) -> bool:
        """Whether the queue can be used in this way."""

    def run(self, cell: Cell, timing: Timing) -> Measurement:
        """Runs it once, and verifies that nothing was lost.

        Raises:
            RecordsLost: something was.
        """


def make_samples(cell: Cell, timing: Timing) -> NDArray[np.uint64]:
    """uint64[producers, n] for the times of single operations, n a power of two, or 0 where none is wanted."""
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
    """Calls ``work(number)`` for each producer in a thread or in a forked process, and waits for them at the end.

    Forking keeps 256 processes affordable, and is safe as this process runs no other thread at that moment.
    """
    worker_class = threading.Thread if kind == "thread" else multiprocessing.get_context("fork").Process
    workers = [worker_class(target=work, args=(number,), daemon=True) for number in range(producers)]
    for worker in workers:
        worker.start()
    yield
    for worker in workers:
        worker.join()
