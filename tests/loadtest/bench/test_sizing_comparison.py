"""The comparison of pool sizes: traces that are what they say, figures that can be checked by hand, and the outcome."""

import json
from functools import cache
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from loadtest.bench.sizing.demand_traces import KINDS, TICK_S, Trace, make_trace
from loadtest.bench.sizing.sizing_comparison import PolicyResult, Row, Verdict, compare, simulate, verdicts
from loadtest.bench.sizing.sizing_policies import SHIPPED, Fixed, HighWaterMark, Oracle, Policy
from loadtest.bench.sizing.sizing_report import rows_table, verdicts_table
from loadtest.cli.bench import bench
from tests.loadtest.tables import rows_of


@cache
def _trace(kind: str) -> Trace:
    return make_trace(kind, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_trace_is_the_same_for_the_same_seed_and_another_for_another(kind: str) -> None:
    first, again, other = _trace(kind), make_trace(kind, 3), make_trace(kind, 2)
    assert np.array_equal(first.others_on_loan, again.others_on_loan)
    assert not np.array_equal(first.peaks(), other.peaks())


@pytest.mark.parametrize("kind", KINDS)
def test_a_trace_obeys_littles_law(kind: str) -> None:
    """The mean on loan is the rate times the mean holding time, as long as few are on loan at either end."""
    trace = _trace(kind)
    assert trace.mean_levels().mean() == pytest.approx(trace.holding_s.sum() / (trace.ticks * TICK_S), rel=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_a_traces_pieces_fill_its_ticks_and_agree_with_its_borrows(kind: str) -> None:
    trace = _trace(kind)
    assert np.add.reduceat(trace.durations_s, trace.piece_starts[:-1]) == pytest.approx(TICK_S)
    assert trace.levels.min() >= 0
    assert trace.levels.max() == trace.others_on_loan.max() + 1


def _trace_by_hand() -> Trace:
    """Two ticks. In the first, two borrows overlap for ten seconds; in the second there is one, for fifteen."""
    return Trace(
        "by hand",
        0,
        others_on_loan=np.array([0, 1, 0]),
        borrow_starts=np.array([0, 2, 3]),
        levels=np.array([0, 1, 2, 1, 0, 1]),
        durations_s=np.array([0.0, 10.0, 10.0, 10.0, 15.0, 15.0]),
        piece_starts=np.array([0, 4, 6]),
        holding_s=np.array([40.0, 15.0]),
    )


@pytest.mark.parametrize(
    ("policy", "counted_from", "misses_of_borrows", "idle_of_loan_s"),
    [
        (Fixed(1), 0, 1 / 3, 15 / 55),
        (Fixed(2), 0, 0, (20 + 30 + 15) / 55),
        (Oracle(_trace_by_hand()), 0, 0, (20 + 15) / 55),
        (HighWaterMark(), 1, 0, (30 + 15) / 15),
    ],
)
def test_misses_and_idle_memory_are_those_counted_by_hand(
    policy: Policy, counted_from: int, misses_of_borrows: float, idle_of_loan_s: float
) -> None:
    outcome = simulate(_trace_by_hand(), policy, counted_from)
    assert outcome.miss_rate == pytest.approx(misses_of_borrows)
    assert outcome.idle_ratio == pytest.approx(idle_of_loan_s)


def test_the_oracle_misses_nothing_and_none_that_misses_nothing_holds_less() -> None:
    for row in compare([4], ["steady", "bursty"]):
        if row.policy == "oracle":
            oracle = row
            assert oracle.mean.miss_rate == 0
    for row in compare([4], [oracle.kind]):
        assert row.mean.miss_rate > 0 or row.mean.idle_ratio >= oracle.mean.idle_ratio


def test_to_dominate_is_to_be_as_good_in_both_and_better_in_one() -> None:
    assert PolicyResult(0.1, 1.0).dominates(PolicyResult(0.1, 1.1))
    assert not PolicyResult(0.1, 1.0).dominates(PolicyResult(0.1, 1.0))
    assert not PolicyResult(0.1, 1.0).dominates(PolicyResult(0.2, 0.9))


@pytest.fixture(scope="module")
def held_out() -> list[dict[str, Any]]:
    """The rows that ``penstock bench sizing`` prints."""
    ran = CliRunner().invoke(bench, ["sizing", "--seeds", "1", "--json"], catch_exceptions=False)
    rows: list[dict[str, Any]] = json.loads(ran.output)["rows"]
    return rows


def test_the_command_compares_all_that_were_asked_for(held_out: list[dict[str, Any]]) -> None:
    asked = {"fixed mean", "fixed p95", "fixed p99", "fixed max", "high-water mark", "oracle", SHIPPED}
    for kind in KINDS:
        assert asked <= {row["policy"] for row in held_out if row["kind"] == kind}


def test_the_shipped_size_is_beaten_in_both_figures_by_no_unlearned_one(held_out: list[dict[str, Any]]) -> None:
    for row in held_out:
        if row["policy"] == SHIPPED:
            assert [name for name in row["dominated_by"] if not name.startswith("learned")] == []


def test_the_shipped_size_beats_fixed_sizes_and_the_high_water_mark_where_misses_have_a_middling_price(
    held_out: list[dict[str, Any]],
) -> None:
    costs = {(row["kind"], row["policy"]): row["idle_ratio"] + 100 * row["miss_rate"] for row in held_out}
    for (kind, policy), cost in costs.items():
        if policy.startswith(("fixed", "high")):
            assert costs[kind, SHIPPED] < cost, (kind, policy)


def test_verdicts_show_losses_too() -> None:
    found = verdicts(compare([5], ["steady"]))
    assert all(verdict.cost <= verdict.shipped_cost for verdict in found)
    assert any(verdict.cost < verdict.shipped_cost for verdict in found)


def test_the_tables_show_every_policy_and_who_beats_it() -> None:
    rows = [
        Row("steady", SHIPPED, PolicyResult(2e-6, 0.5)),
        Row("steady", "fixed max", PolicyResult(3e-6, 0.75), dominated_by=[SHIPPED, "oracle"]),
        Row("bursty", "fixed p95", PolicyResult(5e-6, 0.25)),
    ]
    lines = rows_of(rows_table(rows))
    assert ["steady", *SHIPPED.split(), "2", "0.500"] in lines
    assert ["steady", "fixed", "max", "3", "0.750", "learned", "0.99", "and", "1", "more"] in lines
    assert ["bursty", "fixed", "p95", "5", "0.250"] in lines
    verdict = Verdict("steady", 1_000.0, "fixed max", 0.25, 0.5, "fixed p95", 0.375)
    assert ["steady", "1,000", "fixed", "max", "0.250", "fixed", "p95", "0.375", "0.500"] in rows_of(
        verdicts_table([verdict])
    )
