"""Sizing policies to compare: fixed sizes, high-water marks, an oracle, and the learned policy that ships."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from loadtest.bench.sizing.demand_traces import TICK_S, Trace
from pooling.sizing.pool_sizer import PoolSizer

SHIPPED: Final = "learned 0.99"  # the default of a pool


@dataclass(frozen=True, slots=True)
class Interval:
    """A pool's counts of one interval; see :meth:`pooling.sizing.pool_sizer.PoolSizer.observe`."""

    end_ns: int
    borrowed: int
    borrows: int
    misses: int
    holding_ns_sum: int
    peak: int


class Policy(Protocol):
    """Chooses the size for an interval from the intervals before it."""

    def size(self, in_use: int) -> int:
        """Return how many objects to hold in the interval that begins."""
        ...

    def observe(self, interval: Interval) -> None:
        """Learn from the interval that ended."""
        ...


class Fixed:
    """One size for all time."""

    def __init__(self, size: int) -> None:
        self._size = size

    def size(self, in_use: int) -> int:
        """See :class:`Policy`."""
        del in_use
        return self._size

    def observe(self, interval: Interval) -> None:
        """Learn nothing."""


class HighWaterMark:
    """The highest peak of the last ``intervals``, or of all."""

    def __init__(self, intervals: int | None = None) -> None:
        self._peaks: Final[deque[int]] = deque(maxlen=intervals)

    def size(self, in_use: int) -> int:
        """See :class:`Policy`."""
        return max(self._peaks, default=in_use)

    def observe(self, interval: Interval) -> None:
        """See :class:`Policy`."""
        if self._peaks.maxlen is None and self._peaks:
            self._peaks[0] = max(self._peaks[0], interval.peak)
        else:
            self._peaks.append(interval.peak)


class Oracle:
    """Knows the peak of the interval to come: no policy without misses holds less."""

    def __init__(self, trace: Trace) -> None:
        self._peaks: Final = iter(trace.peaks().tolist())

    def size(self, in_use: int) -> int:
        """See :class:`Policy`."""
        del in_use
        return int(next(self._peaks))

    def observe(self, interval: Interval) -> None:
        """Learn nothing."""


class Learned:
    """The sizer that ships, without a limit of memory; ``counts_peaks`` is off for a pool that cannot count them."""

    def __init__(self, coverage: float, *, counts_peaks: bool = True) -> None:
        self._sizer = PoolSizer(coverage=coverage)
        self._counts_peaks = counts_peaks

    def size(self, in_use: int) -> int:
        """See :class:`Policy`."""
        return self._sizer.recommend(in_use, budget_bytes=1 << 62, object_bytes=1)

    def observe(self, interval: Interval) -> None:
        """See :class:`Policy`."""
        self._sizer.observe(
            interval.end_ns,
            interval.borrowed,
            interval.borrows,
            interval.misses,
            interval.holding_ns_sum,
            interval.peak if self._counts_peaks else None,
        )


def policies(trace: Trace, known_ticks: int) -> Iterator[tuple[str, Policy]]:
    """All policies for a trace, by name; the fixed sizes are quantiles of its first ``known_ticks``.

    A size at p95 would have been enough for 95 % of the borrows of that time.
    """
    seen = trace.others_on_loan[: trace.borrow_starts[known_ticks]]
    yield "fixed mean", Fixed(int(np.ceil(seen.mean())))
    yield "fixed p95", Fixed(int(np.quantile(seen, 0.95)) + 1)
    yield "fixed p99", Fixed(int(np.quantile(seen, 0.99)) + 1)
    yield "fixed max", Fixed(int(seen.max()) + 1)
    yield "high-water mark", HighWaterMark()
    for minutes in (5, 30, 120):
        yield f"peak of {minutes} min", HighWaterMark(int(minutes * 60 / TICK_S))
    for coverage in (0.9, 0.97, 0.99, 0.997, 0.999):
        yield f"learned {coverage}", Learned(coverage)
    yield "learned, no peaks", Learned(0.99, counts_peaks=False)
    yield "oracle", Oracle(trace)
