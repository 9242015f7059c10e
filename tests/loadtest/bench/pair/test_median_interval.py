"""The interval of a median is the one in the tables, and covers as often as it says."""

import random
from collections.abc import Callable
from statistics import median

import pytest

from loadtest.bench.pair.median_interval import median_interval


@pytest.mark.parametrize(
    ("count", "rank", "coverage"),
    # Ranks and coverages from a table of the binomial distribution with one half.
    [(5, 1, 0.9375), (8, 2, 0.9297), (20, 6, 0.9586), (21, 7, 0.9216), (100, 42, 0.9114)],
)
def test_ranks_and_coverage_are_those_of_the_binomial_table(count: int, rank: int, coverage: float) -> None:
    values = list(range(1, count + 1))
    random.Random(count).shuffle(values)
    interval = median_interval(values)
    assert interval is not None
    assert (interval.median, interval.low, interval.high) == (median(values), rank, count + 1 - rank)
    assert interval.coverage == pytest.approx(coverage, abs=1e-4)


def test_a_higher_confidence_needs_a_wider_interval() -> None:
    values = [float(value) for value in range(20)]
    wide, narrow = median_interval(values, 0.99), median_interval(values, 0.5)
    assert wide is not None
    assert narrow is not None
    assert wide.low < narrow.low <= narrow.median <= narrow.high < wide.high


@pytest.mark.parametrize("count", range(5))
def test_fewer_than_five_values_have_no_interval_of_90_percent(count: int) -> None:
    assert median_interval([1.0] * count) is None


@pytest.mark.parametrize("spread", ["uniform", "skewed", "heavy tails"])
def test_the_interval_covers_the_true_median_as_often_as_it_says_whatever_the_distribution(spread: str) -> None:
    draw = random.Random(7)
    distributions: dict[str, tuple[Callable[[], float], float]] = {
        "uniform": (lambda: draw.random(), 0.5),
        "skewed": (lambda: draw.expovariate(1.0), 0.6931),
        "heavy tails": (lambda: draw.gauss(0.0, 1.0) / draw.gauss(0.0, 1.0), 0.0),
    }
    value, truth = distributions[spread]
    covered, samples = 0, 2_000
    for _ in range(samples):
        interval = median_interval([value() for _ in range(20)])
        assert interval is not None
        covered += interval.low <= truth <= interval.high
    assert covered / samples == pytest.approx(0.9586, abs=0.015)
