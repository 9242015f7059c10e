"""Benchmark of queues: Penstock's, and the alternatives to it, side by side in one run.

For each kind, number of producers and batch, all queues run one after the other, in several repetitions, so that drift
of the machine's speed meets all. Ratios are taken within a repetition, and reported as medians.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Final

from loadtest.bench.cache_line_latency import cache_line_latency_ns
from loadtest.bench.queue.contestant import KINDS, PERCENTILES, Cell, Contestant, Measurement, Timing
from loadtest.bench.queue.cpp_queues import PeersUnavailable, cpp_peers
from loadtest.bench.queue.penstock_queue import CalledPenstockQueue, CompiledPenstockQueue, python_timer_ns, timer_ns
from loadtest.bench.queue.python_queues import python_peers
from loadtest.bench.queue.sharded_queue import ShardedPenstockQueue
from loadtest.environment import describe_environment

PRODUCERS: Final = (1, 2, 4, 16, 64, 256)
BATCHES: Final = (1, 100, 1_000, 10_000)

_TIMING: Final = Timing(warmup_s=0.05, measured_s=0.2)


@dataclass(frozen=True)
class Plan:
    """The cells to run, and how often."""

    producers: Sequence[int] = PRODUCERS
    batches: Sequence[int] = BATCHES
    repeats: int = 5
    timing: Timing = _TIMING
    only: Sequence[str] = ()
    """Names of queues; empty for all."""


QUICK: Final = Plan(producers=(1, 3), batches=(1, 1_000), repeats=1, timing=Timing(0.005, 0.03))
"""Shows in seconds that everything works. Its figures mean little."""


@dataclass(frozen=True)
class Result:
    """Measurements of one queue in one cell, by repetition."""

    impl: str
    cell: Cell
    tx_per_s: tuple[float, ...]
    percentiles_ns: tuple[tuple[float, ...], ...]
    """PERCENTILES of each repetition, for single records only."""


def run_bench(plan: Plan, say: Callable[[str], None]) -> tuple[list[Result], dict[str, Any]]:
    """Run all cells; ``say`` gets a line of progress for each.

    Returns:
        The results, and the conditions that they were measured under.

    Raises:
        RecordsLost: a queue lost records, so its figures mean nothing.
    """
    with tempfile.TemporaryDirectory(prefix="penstock-peers-") as directory:
        contestants, missing = _contestants(Path(directory))
        chosen = [contestant for contestant in contestants if not plan.only or contestant.name in plan.only]
        results: list[Result] = []
        lines: list[float] = []
        for kind in KINDS:
            for producers in plan.producers:
                for batch in plan.batches:
                    cell = Cell(kind, producers, batch)
                    say(f"{producers} producers ({kind}), batches of {batch:,}")
                    lines += [line for line in (cache_line_latency_ns(),) if line is not None]
                    results += _run_cell([each for each in chosen if each.supports(cell)], cell, plan)
    return results, {
        **describe_environment(),
        "repeats": plan.repeats,
        "seconds": plan.timing.measured_s,
        "timer_ns": {"compiled": timer_ns(), "python": python_timer_ns()},
        "cache_line_latency_ns": {"least": min(lines), "median": median(lines), "most": max(lines)} if lines else None,
        "missing": missing,
    }


def _contestants(directory: Path) -> tuple[list[Contestant], list[str]]:
    """The queues that can run here, and what the others lack."""
    ours: list[Contestant] = [CompiledPenstockQueue(), CalledPenstockQueue(), ShardedPenstockQueue()]
    python = python_peers()
    missing = [] if any(peer.name == "faster-fifo" for peer in python) else ["faster-fifo: install the group bench"]
    try:
        return [*ours, *cpp_peers(directory), *python], missing
    except PeersUnavailable as error:
        return [*ours, *python], [*missing, f"C++ peers: {error}"]


def _run_cell(contestants: Sequence[Contestant], cell: Cell, plan: Plan) -> list[Result]:
    outcomes: dict[str, list[Measurement]] = {contestant.name: [] for contestant in contestants}
    timed: dict[str, list[tuple[float, ...]]] = {contestant.name: [] for contestant in contestants}
    for repetition in range(plan.repeats):
        for contestant in contestants if repetition % 2 == 0 else reversed(contestants):
            outcomes[contestant.name].append(contestant.run(cell, plan.timing))
            if cell.batch == 1:
                found = contestant.run(cell, replace(plan.timing, timed=True)).percentiles_ns
                assert found is not None, "a timed run has percentiles"
                assert len(found) == len(PERCENTILES)
                timed[contestant.name].append(found)
    return [
        Result(
            name,
            cell,
            tuple(outcome.throughput.records / outcome.throughput.nanoseconds * 1e9 for outcome in found),
            tuple(timed[name]),
        )
        for name, found in outcomes.items()
    ]
