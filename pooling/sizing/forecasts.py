"""Forecasters of a pool's peak demand in the next interval: simple ones, each right about another kind of demand."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

_UNKNOWN: Final = -1.0  # below every peak


@dataclass(frozen=True, slots=True)
class Demand:
    """What a pool saw in one interval."""

    now_ns: int  # its end, on the wall clock
    elapsed_s: float
    rate: float  # borrows per second
    holding_s: float  # mean time on loan
    peak: float  # most objects on loan at once


class Forecaster(Protocol):
    """Foresees the peak of the interval that follows."""

    def forecast(self, demand: Demand) -> float:
        """Take in an interval, and return the peak to expect in the next one, of about the same length."""
        ...


class RecentPeak:
    """The highest peak of the last ``intervals``."""

    def __init__(self, intervals: int) -> None:
        self._peaks: Final[deque[float]] = deque(maxlen=intervals)

    def forecast(self, demand: Demand) -> float:
        """See :class:`Forecaster`."""
        self._peaks.append(demand.peak)
        return max(self._peaks)


class HighWaterMark:
    """The highest peak of all."""

    def __init__(self) -> None:
        self._peak = 0.0

    def forecast(self, demand: Demand) -> float:
        """See :class:`Forecaster`."""
        self._peak = max(self._peak, demand.peak)
        return self._peak


class LittlesLaw:
    """Rate times holding time, plus two standard deviations of chance.

    With arrivals at random, the number on loan is Poisson distributed around that product, whatever the distribution of
    the holding times (the queue M/G/infinity is insensitive to it). Both means fade with ``keep`` per interval.
    """

    def __init__(self, keep: float) -> None:
        self._keep = keep
        self._rate: float | None = None
        self._holding_s = 0.0

    def forecast(self, demand: Demand) -> float:
        """See :class:`Forecaster`."""
        if self._rate is None:
            self._rate, self._holding_s = demand.rate, demand.holding_s
        else:
            self._rate += (1 - self._keep) * (demand.rate - self._rate)
            self._holding_s += (1 - self._keep) * (demand.holding_s - self._holding_s)
        on_loan = self._rate * self._holding_s
        return on_loan + 2 * math.sqrt(on_loan)


class Trend:
    """The line through the smoothed peaks, one interval further (Holt's linear method)."""

    def __init__(self, level_gain: float = 0.4, slope_gain: float = 0.2) -> None:
        self._level_gain = level_gain
        self._slope_gain = slope_gain
        self._level: float | None = None
        self._slope = 0.0

    def forecast(self, demand: Demand) -> float:
        """See :class:`Forecaster`."""
        if self._level is None:
            self._level = demand.peak
        before = self._level
        foreseen = self._level + self._slope
        self._level = foreseen + self._level_gain * (demand.peak - foreseen)
        self._slope += self._slope_gain * (self._level - before - self._slope)
        return max(0.0, self._level + self._slope)


class Rhythm:
    """The peak at the same time of the last round of a period, such as a day; the last peak where that is not known.

    The period is cut into ``parts``, aligned to the wall clock, as cron jobs are, and people.
    """

    def __init__(self, period_s: int, parts: int) -> None:
        self._part_ns = period_s * 1_000_000_000 // parts
        self._parts = parts
        # By part modulo the parts of a round: which part it was the last time, its peak, and that of one round before.
        self._numbers: Final = [-1] * parts
        self._peaks: Final = [_UNKNOWN] * parts
        self._peaks_before: Final = [_UNKNOWN] * parts

    def forecast(self, demand: Demand) -> float:
        """See :class:`Forecaster`."""
        # The moment before the end, since an interval that ends at a full hour belongs to the hour before.
        part = (demand.now_ns - 1) // self._part_ns
        index = part % self._parts
        if self._numbers[index] != part:
            followed = self._numbers[index] == part - self._parts
            self._peaks_before[index] = self._peaks[index] if followed else _UNKNOWN
            self._peaks[index] = _UNKNOWN
            self._numbers[index] = part
        self._peaks[index] = max(self._peaks[index], demand.peak)

        first = demand.now_ns // self._part_ns
        last = (demand.now_ns + int(demand.elapsed_s * 1e9) - 1) // self._part_ns
        ahead = range(first, min(last, first + self._parts - 1) + 1)
        foreseen = max((self._recall(part) for part in ahead), default=_UNKNOWN)
        return demand.peak if foreseen == _UNKNOWN else foreseen

    def _recall(self, part: int) -> float:
        index = part % self._parts
        if self._numbers[index] == part:  # under way
            return max(self._peaks[index], self._peaks_before[index])
        return self._peaks[index] if self._numbers[index] == part - self._parts else _UNKNOWN


def default_forecasters() -> Sequence[Forecaster]:
    """Return the forecasters a sizer asks, each new and without memory."""
    return (
        RecentPeak(1),
        RecentPeak(10),
        RecentPeak(60),
        HighWaterMark(),
        LittlesLaw(0.5),
        LittlesLaw(0.95),
        Trend(),
        Rhythm(3_600, 60),
        Rhythm(86_400, 288),
    )
