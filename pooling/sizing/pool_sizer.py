"""A sizer of pools: learns online from a pool's own demand how many objects it should have.

What a pool needs is the peak of concurrent loans in the next interval. No single rule forecasts it: the peak of the
last minutes is right for bursts, the same hour of yesterday for daily demand, Little's law for a rate that has just
changed. So a :class:`PoolSizer` asks several forecasters, and learns how far to believe each:

- Every forecast is multiplied by a factor of its forecaster, learned by online quantile regression: a step up where
  the peak was above the product, a far smaller step down where it was not. The steps balance where the share
  ``coverage`` of all intervals fits, whatever the distribution (Gibbs and Candes, "Adaptive conformal inference under
  distribution shift", 2021, steps the same way).
- The size is the mean of the products, weighted by exponential weights on their pinball losses with a fixed share
  (Herbster and Warmuth, "Tracking the best expert", 1998). Over any stretch of time that is hardly worse than the best
  forecaster of that stretch, against an adversary too.

An observation takes some ten microseconds; there is one per interval, none per borrow. ``penstock bench sizing``
compares the result with fixed sizes, high-water marks and an oracle.
"""

import math
from dataclasses import dataclass
from typing import Final

from pooling.sizing.forecasts import Demand, Forecaster, default_forecasters

_STEP: Final = 0.1
"""Of a factor's logarithm, after a peak that did not fit."""
_FACTOR_RANGE: Final = (math.log(0.5), math.log(8.0))
_LEARNING_RATE: Final = 0.05
_LOSS_MAX: Final = 60.0
"""Bounds a single loss: a surprise to all forecasters must not outweigh what was learned about them before."""
_FIXED_SHARE: Final = 0.002
"""Part of all weight that is divided equally in every interval, so that no forecaster loses its weight for good."""
_SCALE_DECAY: Final = 0.98
"""Losses are relative to the mean peak of about the last fifty intervals."""


@dataclass(slots=True)
class _Expert:
    forecaster: Forecaster
    weight: float
    log_factor: float = 0.0
    forecast: float = 0.0
    """For the interval under way, before the factor."""

    @property
    def size(self) -> float:
        return self.forecast * math.exp(self.log_factor)


class PoolSizer:
    """Learns one pool's demand; for one thread at a time.

    ``initial`` is what it recommends before it has seen an interval. ``coverage``, from 0.5 to below 1, is the share of
    intervals whose peak is to fit: a higher one means fewer misses and more idle memory.

    Raises:
        ValueError: ``initial`` is negative, or ``coverage`` out of its range.
    """

    def __init__(self, initial: int = 0, coverage: float = 0.99) -> None:
        if initial < 0:
            raise ValueError(f"a pool cannot hold {initial} objects: choose 0 or more")
        if not 0.5 <= coverage < 1.0:
            raise ValueError(f"a coverage of {coverage} cannot be aimed at: choose at least 0.5 and less than 1")
        self._coverage: Final = coverage
        forecasters = default_forecasters()
        self._experts: Final = [_Expert(forecaster, 1 / len(forecasters)) for forecaster in forecasters]
        self._wanted = initial
        self._observed_ns: int | None = None
        self._scale = 0.0
        """The mean peak; 0 until one was seen."""

    def observe(
        self, now_ns: int, in_use: int, borrows: int, misses: int, holding_ns_sum: int, peak: int | None = None
    ) -> None:
        """Learn from the interval that ends now; call at about equal intervals, of seconds to a minute.

        ``now_ns`` is the time on the wall clock, by which seasons are learned; ``in_use`` is what is on loan now.
        ``borrows``, ``misses`` (borrows that found nothing idle) and ``holding_ns_sum`` (time on loan of the loans that
        ended) are sums over this interval. ``peak`` is the most that was on loan at once; without it the pool is sized
        by the other figures, less well.
        """
        # Counts that are read while others borrow need not agree: their differences may be less than 0.
        in_use, borrows, holding_ns_sum = max(0, in_use), max(0, borrows), max(0, holding_ns_sum)
        before_ns, self._observed_ns = self._observed_ns, now_ns
        if before_ns is None or now_ns <= before_ns:
            return  # an interval of unknown length: the first, or the clock was set back
        elapsed_s = (now_ns - before_ns) / 1e9
        if peak is None:
            peak = self._likely_peak(in_use, misses, holding_ns_sum / 1e9 / elapsed_s)
        holding_s = holding_ns_sum / 1e9 / borrows if borrows else 0.0
        demand = Demand(now_ns, elapsed_s, borrows / elapsed_s, holding_s, float(peak))
        if self._scale:
            self._learn(demand.peak)
            self._scale = max(1.0, _SCALE_DECAY * self._scale + (1 - _SCALE_DECAY) * demand.peak)
        else:
            self._scale = max(1.0, demand.peak)
        for expert in self._experts:
            expert.forecast = expert.forecaster.forecast(demand)
        self._wanted = math.ceil(sum(expert.weight * expert.size for expert in self._experts))

    def recommend(self, in_use: int, budget_bytes: int, object_bytes: int) -> int:
        """Return how many objects to have, those on loan included, until the next observation.

        At most what ``budget_bytes`` pays for, yet never below ``in_use``, which cannot be taken from its borrowers.
        """
        assert in_use >= 0
        assert object_bytes > 0
        return max(in_use, min(self._wanted, budget_bytes // object_bytes))

    def _likely_peak(self, in_use: int, misses: int, on_loan: float) -> int:
        """Estimate a peak that was not counted from the mean on loan; misses say that it was above the size."""
        likely = max(in_use, math.ceil(on_loan + 2 * math.sqrt(on_loan)))
        return max(likely, self._wanted + 1) if misses else likely

    def _learn(self, peak: float) -> None:
        # The cost of one object too few, where one too many costs 1.
        missed_cost = self._coverage / (1 - self._coverage)
        for expert in self._experts:
            size = expert.size
            missed = peak > size
            loss = (missed_cost * (peak - size) if missed else size - peak) / self._scale
            expert.weight *= math.exp(-_LEARNING_RATE * min(loss, _LOSS_MAX))
            step = _STEP * (self._coverage if missed else self._coverage - 1)
            expert.log_factor = min(max(expert.log_factor + step, _FACTOR_RANGE[0]), _FACTOR_RANGE[1])
        total = sum(expert.weight for expert in self._experts)
        for expert in self._experts:
            expert.weight = (1 - _FIXED_SHARE) * expert.weight / total + _FIXED_SHARE / len(self._experts)
