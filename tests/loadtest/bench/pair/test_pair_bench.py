"""A comparison is interleaved, finds a difference that is there, and none that is not."""

import random
from collections.abc import Callable

import pytest

from loadtest.bench.pair.pair_bench import Comparison, Figures, MetricMissing, Pair, compare, run_pairs
from loadtest.bench.pair.pair_report import comparison_figures, comparison_table, progress_line, verdict_line
from tests.loadtest.tables import rows_of


def test_the_runs_of_a_pair_stand_side_by_side_with_one_seed_and_each_side_goes_first_in_turn() -> None:
    calls: list[tuple[str, int]] = []

    def side(name: str) -> Callable[[int], Figures]:
        def run(seed: int) -> Figures:
            calls.append((name, seed))
            return {"tps": 1.0 if name == "A" else 2.0}

        return run

    seen: list[int] = []
    pairs = run_pairs(side("A"), side("B"), 4, lambda so_far: seen.append(len(so_far)))
    assert calls == [("A", 1), ("B", 1), ("B", 2), ("A", 2), ("A", 3), ("B", 3), ("B", 4), ("A", 4)]
    assert pairs == [Pair({"tps": 1.0}, {"tps": 2.0})] * 4
    assert seen == [1, 2, 3, 4]


def noisy_pairs(draw: random.Random, *, speedup: float, count: int = 20) -> list[Pair]:
    """Runs on a machine whose speed drifts by half, with noise of a few per cent on each run."""
    pairs = []
    for number in range(count):
        machine = 8e6 * (1.0 + 0.5 * number / count)
        before, after = (machine * draw.gauss(1.0, 0.03) for _ in range(2))
        pairs.append(Pair({"tps": before, "ms": 1e6 / before}, {"tps": after * speedup, "ms": 1e6 / after / speedup}))
    return pairs


def shuffled(pairs: list[Pair], draw: random.Random) -> list[Pair]:
    return [Pair(pair.after, pair.before) if draw.random() < 0.5 else pair for pair in pairs]


def covers(comparison: Comparison, ratio: float) -> bool:
    interval = comparison.interval()
    assert interval is not None
    return interval.low <= ratio <= interval.high


def test_shuffled_labels_give_intervals_that_contain_1() -> None:
    draw = random.Random(11)
    noise = noisy_pairs(draw, speedup=1.0)
    contained = [covers(compare(shuffled(noise, draw), "tps", higher_is_better=True), 1.0) for _ in range(400)]
    assert sum(contained) / len(contained) >= 0.93, "96 % are expected"


def test_shuffled_labels_hide_a_difference_that_the_right_ones_show() -> None:
    draw = random.Random(12)
    faster = noisy_pairs(draw, speedup=1.2)
    assert not covers(compare(faster, "tps", higher_is_better=True), 1.0)
    hidden = [covers(compare(shuffled(faster, draw), "tps", higher_is_better=True), 1.0) for _ in range(400)]
    assert sum(hidden) / len(hidden) >= 0.93, "96 % are expected"


def test_a_difference_is_found_through_drift_in_either_sense_of_better() -> None:
    pairs = noisy_pairs(random.Random(13), speedup=0.9)
    for comparison in (
        compare(pairs, "tps", higher_is_better=True),
        compare(pairs, "ms", higher_is_better=False),
    ):
        assert comparison.median_ratio == pytest.approx(0.9, abs=0.02)
        assert covers(comparison, 0.9)
        assert not comparison.lies_above(0.95)
        assert comparison.lies_above(0.8)
        assert "does NOT lie above 0.95" in verdict_line(comparison, 0.95)


def test_too_few_pairs_show_nothing() -> None:
    comparison = compare([Pair({"tps": 1.0}, {"tps": 9.0})] * 4, "tps", higher_is_better=True)
    assert comparison.interval() is None
    assert not comparison.lies_above(0.1)
    assert "4 pairs are too few" in verdict_line(comparison, 0.1)


@pytest.mark.parametrize("figures", [{"other": 1.0}, {"tps": 0.0, "other": 1.0}])
def test_a_figure_that_gives_no_ratio_is_refused_and_the_others_are_named(figures: Figures) -> None:
    with pytest.raises(MetricMissing, match=r"tps above 0.*other"):
        compare([Pair({"tps": 1.0}, figures)], "tps", higher_is_better=True)


def test_the_report_has_the_ratio_its_interval_and_both_medians() -> None:
    pairs = [Pair({"ms": 2.0}, {"ms": 1.0}), Pair({"ms": 6.0}, {"ms": 4.0})] * 5
    comparison = compare(pairs, "ms", higher_is_better=False)
    figures = comparison_figures(comparison)
    assert (figures["before_median"], figures["after_median"], figures["ratio_median"]) == (4.0, 2.5, 1.75)
    assert figures["interval"] == {"median": 1.75, "low": 1.5, "high": 2.0, "coverage": pytest.approx(0.9785, abs=1e-4)}
    assert len(figures["ratios"]) == 10
    assert ["ms", "(lower", "is", "better)", "4", "2.5", "1.750", "1.500", "to", "2.000"] in rows_of(
        comparison_table([comparison])
    )
    assert progress_line(comparison, 20) == "pair 10 of 20: ms 6 before, 4 after, ratio 1.500; median 1.750"
