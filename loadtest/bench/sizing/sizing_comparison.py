"""Comparison of sizing policies on the same traces, by misses and by idle memory.

The rules are the same for all. At the start of a tick the pool makes or drops idle objects until it has the size that
the policy asks for, but never fewer than are on loan. A borrow that finds as many on loan as the size is a miss;
the object it needs is made for it and dropped when it comes back. The first third of a trace is for
learning and is not counted.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np

from loadtest.bench.sizing.demand_traces import KINDS, TICK_S, Trace, make_trace
from loadtest.bench.sizing.sizing_policies import SHIPPED, Interval, Policy, policies

FIRST_HELD_OUT_SEED: Final = 1_000  # the sizer's constants were chosen on seeds below
PRICES: Final = (10.0, 100.0, 1_000.0)
_EPOCH_NS: Final = 1_767_225_600 * 1_000_000_000  # 1 January 2026, a midnight in UTC


@dataclass(frozen=True)
class PolicyResult:
    """Misses and idle objects of a policy on one trace, in the ticks that count."""

    miss_rate: float  # misses per borrow
    idle_ratio: float  # idle objects per object on loan, both as averages over time

    def cost(self, price: float) -> float:
        """Return both as one cost: a miss costs as much as an object that is idle for ``price`` holding times."""
        return self.idle_ratio + price * self.miss_rate

    def dominates(self, other: "PolicyResult") -> bool:
        """Whether this one is at least as good in both figures, and better in one."""
        return (
            self.miss_rate <= other.miss_rate
            and self.idle_ratio <= other.idle_ratio
            and (self.miss_rate, self.idle_ratio) != (other.miss_rate, other.idle_ratio)
        )


@dataclass
class Row:
    """A policy on all traces of a kind: its mean result, and the policies that dominate it."""

    kind: str
    policy: str
    mean: PolicyResult
    dominated_by: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the row for JSON."""
        return {
            "kind": self.kind,
            "policy": self.policy,
            "miss_rate": self.mean.miss_rate,
            "idle_ratio": self.mean.idle_ratio,
            "pareto": not self.dominated_by,
            "dominated_by": self.dominated_by,
        }


def simulate(trace: Trace, policy: Policy, counted_from: int) -> PolicyResult:
    """Size a pool by a policy through a trace; ticks before ``counted_from`` are not counted."""
    peaks, in_use = trace.peaks(), trace.levels[trace.piece_starts[:-1]]
    sizes, misses = np.zeros(trace.ticks, np.int64), np.zeros(trace.ticks, np.int64)
    for tick in range(trace.ticks):
        first, last = trace.borrow_starts[tick], trace.borrow_starts[tick + 1]
        sizes[tick] = max(policy.size(int(in_use[tick])), in_use[tick])
        if peaks[tick] > sizes[tick]:
            misses[tick] = np.count_nonzero(trace.others_on_loan[first:last] >= sizes[tick])
        policy.observe(
            Interval(
                end_ns=_EPOCH_NS + int((tick + 1) * TICK_S * 1e9),
                borrowed=int(trace.levels[trace.piece_starts[tick + 1] - 1]),
                borrows=int(last - first),
                misses=int(misses[tick]),
                holding_ns_sum=int(trace.holding_s[tick] * 1e9),
                peak=int(peaks[tick]),
            )
        )
    size_of_pieces = np.repeat(sizes, np.diff(trace.piece_starts))
    idle = np.maximum(size_of_pieces - trace.levels, 0) * trace.durations_s
    counted = slice(trace.piece_starts[counted_from], None)
    on_loan = trace.levels[counted] * trace.durations_s[counted]
    borrows = trace.others_on_loan.size - trace.borrow_starts[counted_from]
    return PolicyResult(float(misses[counted_from:].sum() / borrows), float(idle[counted].sum() / on_loan.sum()))


def compare(seeds: Iterable[int], kinds: Iterable[str] = tuple(KINDS)) -> list[Row]:
    """Simulate all policies on the traces of all kinds and seeds; rows by kind, then by policy."""
    seeds = list(seeds)
    return [row for kind in kinds for row in _compare_kind(kind, seeds)]


def _compare_kind(kind: str, seeds: Sequence[int]) -> list[Row]:
    outcomes: dict[str, list[PolicyResult]] = {}
    for seed in seeds:
        trace = make_trace(kind, seed)
        known = trace.ticks // 3
        for name, policy in policies(trace, known):
            outcomes.setdefault(name, []).append(simulate(trace, policy, known))
    rows = [Row(kind, name, _mean(single)) for name, single in outcomes.items()]
    for row in rows:
        # The oracle cannot be built, so being dominated by it says nothing.
        rivals = (other for other in rows if other.policy != "oracle")
        row.dominated_by = [rival.policy for rival in rivals if rival.mean.dominates(row.mean)]
    return rows


def _mean(outcomes: Sequence[PolicyResult]) -> PolicyResult:
    return PolicyResult(
        float(np.mean([outcome.miss_rate for outcome in outcomes])),
        float(np.mean([outcome.idle_ratio for outcome in outcomes])),
    )


@dataclass(frozen=True)
class Verdict:
    """The cheapest policy on a kind of demand, at a ``price`` of a miss in idle objects times holding times."""

    kind: str
    price: float
    cheapest: str
    cost: float  # idle ratio + price x miss rate; the oracle left out
    shipped_cost: float
    best_unlearned: str
    unlearned_cost: float

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict for JSON."""
        return asdict(self)


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """The cheapest policies among the rows of :func:`compare`, at every price."""
    found = []
    for kind in dict.fromkeys(row.kind for row in rows):
        for price in PRICES:
            costs = {row.policy: row.mean.cost(price) for row in rows if row.kind == kind and row.policy != "oracle"}
            cheapest = min(costs, key=costs.__getitem__)
            unlearned = min((name for name in costs if not name.startswith("learned")), key=costs.__getitem__)
            found.append(Verdict(kind, price, cheapest, costs[cheapest], costs[SHIPPED], unlearned, costs[unlearned]))
    return found
