"""Text and JSON of a before-and-after comparison."""

from collections.abc import Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from rich.table import Column, Table

from loadtest.bench.pair.pair_bench import CONFIDENCE, Comparison


def comparison_figures(comparison: Comparison) -> dict[str, Any]:
    """A comparison for JSON: both medians, all figures, the ratios, their median and its interval."""
    interval = comparison.interval()
    return {
        "metric": comparison.metric,
        "better": "higher" if comparison.higher_is_better else "lower",
        "before_median": median(comparison.before),
        "after_median": median(comparison.after),
        "ratio_median": round(comparison.median_ratio, 4),
        "interval": None if interval is None else {k: round(v, 4) for k, v in asdict(interval).items()},
        "ratios": [round(ratio, 4) for ratio in comparison.ratios],
        "before": list(comparison.before),
        "after": list(comparison.after),
    }


def progress_line(comparison: Comparison, pairs: int) -> str:
    """What the last pair gave, and where the median stands."""
    done = len(comparison.ratios)
    return (
        f"pair {done:>{len(str(pairs))}} of {pairs}: {comparison.metric} {_text(comparison.before[-1])} before, "
        f"{_text(comparison.after[-1])} after, ratio {comparison.ratios[-1]:.3f}; median {comparison.median_ratio:.3f}"
    )


def comparison_table(comparisons: Sequence[Comparison]) -> Table:
    """A row for each figure."""
    table = Table(
        "figure",
        Column("before, median", justify="right"),
        Column("after, median", justify="right"),
        Column("ratio, median", justify="right"),
        f"{CONFIDENCE:.0%} interval",
        title="ratios turned so that above 1 is better",
        title_justify="left",
    )
    for comparison in comparisons:
        interval = comparison.interval()
        table.add_row(
            f"{comparison.metric} ({'higher' if comparison.higher_is_better else 'lower'} is better)",
            _text(median(comparison.before)),
            _text(median(comparison.after)),
            f"{comparison.median_ratio:.3f}",
            "none: too few pairs" if interval is None else f"{interval.low:.3f} to {interval.high:.3f}",
        )
    return table


def verdict_line(comparison: Comparison, floor: float) -> str:
    """Whether the interval lies above the floor, and what the interval is."""
    interval, count = comparison.interval(), len(comparison.ratios)
    if interval is None:
        return f"{comparison.metric}: {count} pairs are too few for a {CONFIDENCE:.0%} interval"
    holds = "lies above" if interval.low > floor else "does NOT lie above"
    return (
        f"{comparison.metric}: the interval {interval.low:.3f} to {interval.high:.3f} {holds} {floor:g} (order "
        f"statistics of {count} ratios, the sign test's; it covers the median with {interval.coverage:.1%})"
    )


def _text(value: float) -> str:
    return f"{value:,.0f}" if value >= 10_000 else f"{value:.4g}"
