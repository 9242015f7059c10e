"""Confidence interval of a median: the exact one from order statistics, which is the inversion of the sign test.

It assumes that the values are independent and from one continuous distribution, of whatever shape. Bootstrapping the
median of 20 values would rest on the same few middle values without a guarantee of its coverage.

Source: W. R. Thompson, "On confidence ranges for the median and other expectation distributions for populations of
unknown distribution form", Annals of Mathematical Statistics 7 (1936); W. J. Conover, "Practical Nonparametric
Statistics", 3rd edition, section 3.2.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from statistics import median


@dataclass(frozen=True, slots=True)
class MedianInterval:
    """A sample's median, and the interval that covers the population's."""

    median: float
    low: float
    high: float
    coverage: float
    """Probability with which such an interval covers: at least what was asked for. 20 values give 0.959 for 0.9."""


def median_interval(values: Sequence[float], confidence: float = 0.9) -> MedianInterval | None:
    """The narrowest interval between two values, equally far from both ends, that covers with this probability.

    None where even the least and the greatest value do not suffice: 90 % needs 5 values.
    """
    assert 0.0 < confidence < 1.0
    ordered, count = sorted(values), len(values)
    outside = 0.0  # probability that the median lies below the value at `rank`, or above its counterpart
    found = None
    for rank in range(count // 2):
        outside += 2 * comb(count, rank) / 2**count
        if 1 - outside < confidence:
            break
        found = MedianInterval(median(ordered), ordered[rank], ordered[-1 - rank], 1 - outside)
    return found
