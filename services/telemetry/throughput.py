"""The three phases' pace against their targets."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from services.telemetry.counters import Counter, Counters


class Phase(NamedTuple):
    """A phase of the specification, and the counter that shows its work."""

    name: str
    target_tps: float
    counter: Counter


PHASES: Final = (
    Phase("replication", 3_350_000, Counter.TRANSACTIONS_DURABLE),
    # A transaction is sealed by being copied into a borrowed buffer: what is sealed is what the pools carry.
    Phase("pooling", 3_500_000, Counter.TRANSACTIONS_SEALED),
    Phase("txqueue", 3_750_000, Counter.TRANSACTIONS_ENQUEUED),
)


class Pace(NamedTuple):
    """How a phase is doing."""

    name: str
    achieved_tps: float
    target_tps: float
    transactions: int
    """Since the node started."""


class _Sample(NamedTuple):
    time_ns: int
    counts: tuple[int, ...]


class PhaseThroughput:
    """Measures the phases whenever somebody asks, over the last few seconds; costs nothing while nobody does.

    Any number of readers may ask at any rhythm, from any thread: the window does not start anew for each. Where the
    last question is longer ago than the window, the pace is the mean since then.
    """

    _WINDOW_NS: Final = 5_000_000_000
    _SAMPLE_INTERVAL_NS: Final = 500_000_000

    def __init__(self, counters: Counters, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._counters = counters
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._samples = deque([self._sample()])

    def read(self) -> list[Pace]:
        """Give the pace of each of `PHASES`."""
        with self._lock:
            now = self._sample()
            samples = self._samples
            # The base is the youngest sample that covers the window, or the oldest there is.
            while len(samples) > 1 and now.time_ns - samples[1].time_ns >= self._WINDOW_NS:
                samples.popleft()
            base = samples[0]
            if now.time_ns - samples[-1].time_ns >= self._SAMPLE_INTERVAL_NS:
                samples.append(now)
        seconds = (now.time_ns - base.time_ns) / 1e9
        return [
            Pace(phase.name, (count - before) / seconds if seconds > 0 else 0.0, phase.target_tps, count)
            for phase, count, before in zip(PHASES, now.counts, base.counts, strict=True)
        ]

    def _sample(self) -> _Sample:
        return _Sample(self._clock_ns(), tuple(self._counters[phase.counter] for phase in PHASES))
