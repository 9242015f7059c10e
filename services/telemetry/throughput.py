"""Throughput of the specification's three phases, against their targets."""

import threading
from collections import deque
from typing import Final, NamedTuple

from penstock.host.clock import SYSTEM_CLOCK, Clock
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


class PhaseReading(NamedTuple):
    """Throughput of one phase."""

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

    Any number of readers may ask at any rhythm, from any thread: the window does not start anew for each. Where nobody
    has asked for longer than the window, the throughput is the mean since the last reading.
    """

    _WINDOW_NS: Final = 5_000_000_000
    _SAMPLE_INTERVAL_NS: Final = 500_000_000

    def __init__(self, counters: Counters, clock: Clock = SYSTEM_CLOCK) -> None:
        self._counters = counters
        self._clock = clock
        self._lock = threading.Lock()
        self._samples = deque([self._sample()])

    def read(self) -> list[PhaseReading]:
        """Give the throughput of each of `PHASES`."""
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
            PhaseReading(phase.name, (count - before) / seconds if seconds > 0 else 0.0, phase.target_tps, count)
            for phase, count, before in zip(PHASES, now.counts, base.counts, strict=True)
        ]

    def _sample(self) -> _Sample:
        return _Sample(self._clock.monotonic_ns(), tuple(self._counters[phase.counter] for phase in PHASES))
