"""The sizer of a pool: what it learns, and what it never does."""

import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pooling.sizing.forecasts import (
    Demand,
    HighWaterMark,
    HoltTrend,
    LittlesLaw,
    RecentPeak,
    SeasonalNaive,
    default_forecasters,
)
from pooling.sizing.pool_sizer import PoolSizer

S = 1_000_000_000
UNLIMITED = 1 << 62


def _feed(sizer: PoolSizer, peaks: list[int], start_ns: int = 0, step_s: int = 30) -> int:
    """Feed one interval per peak; returns the time at the end."""
    now = start_ns
    for peak in peaks:
        now += step_s * S
        sizer.observe(now, peak // 2, borrows=peak * 10, misses=0, holding_ns_sum=peak * step_s * S // 2, peak=peak)
    return now


def test_recommends_the_initial_size_until_it_has_seen_an_interval() -> None:
    sizer = PoolSizer(initial=7)
    assert sizer.recommend(0, UNLIMITED, 1) == 7
    sizer.observe(S, 0, 0, 0, 0)  # of unknown length: nothing is learned from it
    assert sizer.recommend(0, UNLIMITED, 1) == 7


def test_a_constant_peak_is_met_closely_and_always_fits() -> None:
    sizer = PoolSizer()
    now = 0
    misfits = 0
    for _ in range(2_000):
        misfits += sizer.recommend(0, UNLIMITED, 1) < 40 and now > 100 * S
        now = _feed(sizer, [40], now)
    assert misfits <= 0.03 * 2_000
    assert 40 <= sizer.recommend(0, UNLIMITED, 1) <= 50


def test_grows_before_the_hour_at_which_demand_came_yesterday() -> None:
    quiet, busy = [4] * 118, [60] * 2  # in half-minute intervals: a job at the end of every hour
    sizer = PoolSizer()
    now = _feed(sizer, (quiet + busy) * 30)
    now = _feed(sizer, quiet, now)
    assert sizer.recommend(0, UNLIMITED, 1) >= 50
    now = _feed(sizer, busy, now)
    _feed(sizer, [4] * 12, now)
    assert sizer.recommend(0, UNLIMITED, 1) < 50


def test_shrinks_after_demand_has_gone() -> None:
    sizer = PoolSizer()
    now = _feed(sizer, [500] * 200)
    _feed(sizer, [5] * 1_000, now)
    assert sizer.recommend(0, UNLIMITED, 1) < 60


def test_without_peaks_the_size_covers_what_littles_law_foresees() -> None:
    sizer = PoolSizer()
    now = 0
    for _ in range(300):
        now += 30 * S
        sizer.observe(now, 20, borrows=600, misses=0, holding_ns_sum=600 * S)  # 20 per second for a second each
    assert 20 + 2 * math.sqrt(20) <= sizer.recommend(0, UNLIMITED, 1) <= 60


def test_without_peaks_misses_make_it_grow() -> None:
    sizer = PoolSizer()
    now = 0
    for _ in range(300):
        now += 30 * S
        short = sizer.recommend(0, UNLIMITED, 1) < 100  # bursts that the mean on loan does not show
        sizer.observe(now, 1, borrows=600, misses=5 if short else 0, holding_ns_sum=30 * S)
    assert sizer.recommend(0, UNLIMITED, 1) >= 40


_counts = st.integers(0, 10**9)


@given(
    st.lists(st.tuples(st.integers(0, 2**62), _counts, _counts, _counts, st.integers(0, 2**62), st.none() | _counts)),
    st.integers(0, 10**6),
    st.integers(0, 2**40),
    st.integers(1, 2**30),
)
@settings(deadline=None)
def test_never_falls_below_what_is_on_loan_nor_exceeds_the_budget(
    observations: list[tuple[int, int, int, int, int, int | None]], in_use: int, budget_bytes: int, object_bytes: int
) -> None:
    sizer = PoolSizer(initial=100)
    for observation in observations:
        sizer.observe(*observation)
        size = sizer.recommend(in_use, budget_bytes, object_bytes)
        assert size >= in_use
        assert size <= max(in_use, budget_bytes // object_bytes)


@pytest.mark.parametrize("coverage", [0.0, 0.49, 1.0, 1.5, math.nan])
def test_refuses_a_coverage_that_cannot_be_aimed_at(coverage: float) -> None:
    with pytest.raises(ValueError, match="coverage"):
        PoolSizer(coverage=coverage)


def test_refuses_a_negative_initial_size() -> None:
    with pytest.raises(ValueError, match="hold -1 objects"):
        PoolSizer(initial=-1)


@pytest.mark.alone
def test_an_observation_is_cheap() -> None:
    sizer = PoolSizer()
    _feed(sizer, [5] * 100)
    best = math.inf
    for start in range(5):
        before = time.perf_counter()
        _feed(sizer, [5] * 200, (1_000_000 + start * 10_000) * S)
        best = min(best, (time.perf_counter() - before) / 200)
    assert best < 500e-6


def _demand(now_s: int, peak: float, rate: float = 0.0, holding_s: float = 0.0) -> Demand:
    return Demand(now_s * S, 60.0, rate, holding_s, peak)


def test_a_recent_peak_is_forgotten_after_its_intervals() -> None:
    forecaster = RecentPeak(3)
    assert [forecaster.forecast(_demand(0, peak)) for peak in (9, 1, 2, 3)] == [9, 9, 9, 3]


def test_the_high_water_mark_is_never_forgotten() -> None:
    forecaster = HighWaterMark()
    assert [forecaster.forecast(_demand(0, peak)) for peak in (1, 9, 2)] == [1, 9, 9]


def test_littles_law_multiplies_rate_and_holding_time() -> None:
    assert LittlesLaw(0.5).forecast(_demand(0, 0, rate=50.0, holding_s=2.0)) == pytest.approx(100 + 2 * math.sqrt(100))


def test_a_trend_foresees_more_of_a_steady_growth() -> None:
    forecaster = HoltTrend()
    foreseen = [forecaster.forecast(_demand(0, float(peak))) for peak in range(0, 1_000, 10)]
    assert foreseen[-1] == pytest.approx(1_000, rel=0.02)


def test_a_seasonal_forecast_recalls_the_same_time_of_the_last_season() -> None:
    hourly = SeasonalNaive(3_600, 60)
    for minute in range(1, 180):
        hourly.forecast(_demand(minute * 60, 50.0 if minute % 60 == 30 else 3.0))
    assert hourly.forecast(_demand(209 * 60, 3.0)) == 50.0
    assert hourly.forecast(_demand(210 * 60, 50.0)) == 3.0


def test_a_seasonal_forecast_recalls_the_last_season_within_a_bin_too() -> None:
    hourly = SeasonalNaive(3_600, 2)
    for minute in range(1, 60 * 3 + 10):
        foreseen = hourly.forecast(_demand(minute * 60, 50.0 if minute % 60 == 20 else 3.0))
    assert foreseen == 50.0


def test_a_seasonal_forecast_does_not_recall_a_season_before_the_last() -> None:
    hourly = SeasonalNaive(3_600, 60)
    hourly.forecast(_demand(30 * 60, 50.0))
    assert hourly.forecast(_demand((60 * 3 + 29) * 60, 3.0)) == 3.0


def test_no_two_sizers_share_what_they_learn() -> None:
    for one, other in zip(default_forecasters(), default_forecasters(), strict=True):
        assert one is not other
