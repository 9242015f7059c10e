"""The before-and-after benchmark: interleaved pairs of runs, a ratio for each pair, the ratios' median and interval.

A shared machine's speed drifts by more than the differences that matter. The two runs of a pair stand next to each
other, and which goes first alternates (A B, B A, ...), so that a steady drift favours neither.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from loadtest.bench.pair.median_interval import MedianInterval, median_interval

CONFIDENCE: Final = 0.9

Figures = dict[str, float]
Run = Callable[[int], Figures]
"""Runs one side once, with this seed."""


class MetricMissing(Exception):
    """A run did not give the figure that was asked for; the message lists those that it gave."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The figures of two runs beside each other."""

    before: Figures
    after: Figures


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure before and after. A ratio above 1 is better after, whether more or less of the figure is better."""

    metric: str
    higher_is_better: bool
    before: tuple[float, ...]
    after: tuple[float, ...]

    @property
    def ratios(self) -> tuple[float, ...]:
        """One for each pair."""
        pairs = zip(self.before, self.after, strict=True)
        return tuple(after / before if self.higher_is_better else before / after for before, after in pairs)

    @property
    def median_ratio(self) -> float:
        """The middle one of the pairs' ratios."""
        return median(self.ratios)

    def interval(self) -> MedianInterval | None:
        """That of the median ratio; None where there are too few pairs for one."""
        return median_interval(self.ratios, CONFIDENCE)

    def lies_above(self, floor: float) -> bool:
        """Whether all of the interval does; where there is none, nothing is shown."""
        interval = self.interval()
        return interval is not None and interval.low > floor


def run_pairs(
    before: Run, after: Run, pairs: int, on_pair: Callable[[list[Pair]], None] = lambda _pairs: None
) -> list[Pair]:
    """Run both sides so many times, interleaved; both sides of a pair get the same seed.

    Raises whatever the runs do. ``on_pair`` gets the pairs so far.
    """
    done: list[Pair] = []
    for seed in range(1, pairs + 1):
        if seed % 2:
            first = before(seed)
            done.append(Pair(first, after(seed)))
        else:
            first = after(seed)
            done.append(Pair(before(seed), first))
        on_pair(done)
    return done


def compare(pairs: Sequence[Pair], metric: str, *, higher_is_better: bool) -> Comparison:
    """Set one figure of all pairs against each other.

    Raises:
        MetricMissing: a run lacks it, or it is not above 0, so that there is no ratio.
    """
    for figures in (side for pair in pairs for side in (pair.before, pair.after)):
        if not figures.get(metric, 0.0) > 0.0:
            raise MetricMissing(f"no {metric} above 0 in what a run gave: {', '.join(sorted(figures))}")
    return Comparison(
        metric,
        higher_is_better,
        tuple(pair.before[metric] for pair in pairs),
        tuple(pair.after[metric] for pair in pairs),
    )
