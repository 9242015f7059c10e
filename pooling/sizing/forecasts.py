"""Forecasters of a pool's peak demand in the next interval, each suited to a different kind of demand."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

_UNKNOWN: Final = -1.0
"""In place of a peak: below every real one."""


@dataclass(frozen=True, slots=True)
class Demand:
    """The demand on a pool in one interval."""

    now_ns: int
    """End of the interval, on the wall clock."""
    elapsed_s: float
    rate: float
    """Borrows per second."""
    holding_s: float
    """Mean time on loan."""
    peak: float
    """Most objects on loan at once."""


class Forecaster(Protocol):
    """Forecasts the peak of the next interval."""

    def forecast(self, demand: Demand) -> float:
        """Learn from an interval, and return the peak to expect in the next one, of about the same length."""
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
    """Little's law: rate times holding time, plus two standard deviations.

    With arrivals at random, the number on loan is Poisson distributed around that product, whatever the distribution of
    the holding times (the queue M/G/infinity is insensitive to it). Both means are exponential moving averages, in
    which an interval's weight is multiplied by ``decay`` with each later interval.
    """

    def __init__(self, decay: float) -> None:
        self._decay = decay
        self._rate: float | None = None
        self._holding_s = 0.0

    def forecast(self, demand: Demand) -> float:
        """See :class:`Forecaster`."""
        if self._rate is None:
            self._rate, self._holding_s = demand.rate, demand.holding_s
        else:
            self._rate += (1 - self._decay) * (demand.rate - self._rate)
            self._holding_s += (1 - self._decay) * (demand.holding_s - self._holding_s)
        on_loan = self._rate * self._holding_s
        return on_loan + 2 * math.sqrt(on_loan)


class HoltTrend:
    """Double exponential smoothing: smoothed level plus smoothed slope of the peaks (Holt's linear method)."""

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


class SeasonalNaive:
    """The peak at the same time of the last season, such as yesterday; the last peak where that is not known.

    A season is cut into ``bins``, aligned to the wall clock, as cron jobs and people are.
    """

    def __init__(self, season_s: int, bins: int) -> None:
        self._bin_ns = season_s * 1_000_000_000 // bins
        self._bins = bins
        # By bin modulo the bins of a season: its number since 1970, its peak, and the peak one season before.
        self._numbers: Final = [-1] * bins
        self._peaks: Final = [_UNKNOWN] * bins
        self._peaks_before: Final = [_UNKNOWN] * bins

    def forecast(self, demand: Demand) -> float:
        """See :class:`Forecaster`."""
        # One nanosecond before the end: an interval that ends at a full hour belongs to the hour before.
        number = (demand.now_ns - 1) // self._bin_ns
        index = number % self._bins
        if self._numbers[index] != number:
            followed = self._numbers[index] == number - self._bins
            self._peaks_before[index] = self._peaks[index] if followed else _UNKNOWN
            self._peaks[index] = _UNKNOWN
            self._numbers[index] = number
        self._peaks[index] = max(self._peaks[index], demand.peak)

        first = demand.now_ns // self._bin_ns
        last = (demand.now_ns + int(demand.elapsed_s * 1e9) - 1) // self._bin_ns
        ahead = range(first, min(last, first + self._bins - 1) + 1)
        foreseen = max((self._recall(number) for number in ahead), default=_UNKNOWN)
        return demand.peak if foreseen == _UNKNOWN else foreseen

    def _recall(self, number: int) -> float:
        index = number % self._bins
        if self._numbers[index] == number:  # the bin under way
            return max(self._peaks[index], self._peaks_before[index])
        return self._peaks[index] if self._numbers[index] == number - self._bins else _UNKNOWN


def default_forecasters() -> Sequence[Forecaster]:
    """Make the forecasters of a sizer, each without anything learned yet."""
    return (
        RecentPeak(1),
        RecentPeak(10),
        RecentPeak(60),
        HighWaterMark(),
        LittlesLaw(0.5),
        LittlesLaw(0.95),
        HoltTrend(),
        SeasonalNaive(3_600, 60),
        SeasonalNaive(86_400, 288),
    )
