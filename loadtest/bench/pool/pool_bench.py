"""Benchmark of the pools and the arena against other allocators and pools: ``penstock bench pool``.

All are measured in turn, in several rounds, so that drift of the machine's speed meets all. A figure is the median of
its rounds; so is a ratio, which is taken within each round.
"""

import ctypes.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import geometric_mean, median
from typing import Any, Final

from loadtest.bench.pool.allocator_loops import ARENA, ONE_BY_ONE
from loadtest.bench.pool.python_pools import GENERIC_POOL, python_rows
from loadtest.bench.timed_loop import Row
from loadtest.node.child_process import command_of_child
from pooling.arena.kernel.layout import CLASS_BYTES_MAX

GLIBC: Final = "glibc malloc"
AIMED_THREADS: Final = 2  # of the aims in proportion to glibc
_PRELOADED: Final = {"jemalloc": "libjemalloc2", "mimalloc": "libmimalloc2.0"}  # by Debian package
_CHILD_DEADLINE_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class PoolBenchPlan:
    """A measurement, of two minutes by default. ``seconds`` are those of a row in a round."""

    sizes: tuple[int, ...] = (32, 64, 256, 1024, 4096, 16384, 65536)
    threads: tuple[int, ...] = (1, 2, 4, 16, 64)
    seconds: float = 0.05
    rounds: int = 3


@dataclass(frozen=True, slots=True)
class Ratio:
    """The arena's time per operation over another allocator's, p50 by p50."""

    to: str
    what: str
    size: int
    threads: int
    time_ratio: float


@dataclass(frozen=True, slots=True)
class PoolBenchRun:
    """The results."""

    rows: list[Row]
    ratios: list[Ratio]
    missing: list[str] = field(default_factory=list)  # what could not be measured, and what to do about it

    def summary(self) -> dict[str, float | None]:
        """Return the figures that have targets; None where they were not measured.

        A single thread's figure is that of the fewest threads measured.
        """
        fewest = min((row.threads for row in self.rows), default=0)
        slab = [row for row in self.rows if row.impl == ARENA and row.size <= CLASS_BYTES_MAX]
        ratios = [
            ratio.time_ratio
            for ratio in self.ratios
            if ratio.to == GLIBC and ratio.threads == AIMED_THREADS and ratio.size <= CLASS_BYTES_MAX
        ]
        hits = [row.p50_ns for row in slab if row.what == ONE_BY_ONE and row.threads == fewest]
        borrows = [row.p50_ns for row in self.rows if row.impl == GENERIC_POOL and row.threads == fewest]
        return {
            "arena_hit_p50_ns_worst_size": max(hits, default=None),
            "arena_to_glibc_2_threads": round(geometric_mean(ratios), 3) if ratios else None,
            "pool_borrow_return_p50_ns": min(borrows, default=None),
            "fewest_threads": fewest or None,
        }

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "rows": [row.as_dict() for row in self.rows],
            "ratios": [{**asdict(ratio), "time_ratio": round(ratio.time_ratio, 3)} for ratio in self.ratios],
            "summary": self.summary(),
            "missing": self.missing,
        }


class AllocatorLoopFailed(Exception):
    """The process that measures an allocator failed; the message has its output."""


def run_pool_bench(plan: PoolBenchPlan, on_progress: Callable[[str], None] = lambda _what: None) -> PoolBenchRun:
    """Measure every allocator and pool that is installed.

    Raises:
        AllocatorLoopFailed: a process failed.
    """
    found, missing = _allocators()
    rounds: list[list[Row]] = []
    for number in range(plan.rounds):
        rows: list[Row] = []
        for impl, library in found.items():
            on_progress(f"round {number + 1} of {plan.rounds}: {impl}")
            rows += _in_a_process(impl, library, plan)
        on_progress(f"round {number + 1} of {plan.rounds}: Python")
        rows += python_rows(list(plan.sizes), list(plan.threads), plan.seconds)
        rounds.append(rows)
    return PoolBenchRun(_median_rows(rounds), _ratios(rounds), missing)


def _allocators() -> tuple[dict[str, str | None], list[str]]:
    """Find the libraries to preload, by the name of the allocator; the arena and the C library's need none."""
    found: dict[str, str | None] = {ARENA: None, GLIBC: None}
    missing = []
    for impl, package in _PRELOADED.items():
        library = ctypes.util.find_library(impl)
        if library is None:
            missing.append(f"{impl} is not installed: apt-get install {package}")
        else:
            found[impl] = library
    return found, missing


def _in_a_process(impl: str, library: str | None, plan: PoolBenchPlan) -> list[Row]:
    order = {"impl": impl, "sizes": plan.sizes, "threads": plan.threads, "seconds": plan.seconds}
    environment = {**os.environ, **({"LD_PRELOAD": library} if library is not None else {})}
    command = [sys.executable, "-m", "loadtest.bench.pool.allocator_loops", json.dumps(order)]
    ran = subprocess.run(
        command_of_child(*command),
        env=environment,
        capture_output=True,
        text=True,
        timeout=_CHILD_DEADLINE_S,
        check=False,
    )
    if ran.returncode != 0:
        raise AllocatorLoopFailed(f"measuring {impl} failed with code {ran.returncode}:\n{ran.stderr[-2000:]}")
    return [Row(**row) for row in json.loads(ran.stdout)]


def _median_rows(rounds: Sequence[Sequence[Row]]) -> list[Row]:
    return [_median_row(same) for same in zip(*rounds, strict=True)]


def _median_row(same: Sequence[Row]) -> Row:
    return replace(
        same[0],
        p50_ns=median(row.p50_ns for row in same),
        p99_ns=median(row.p99_ns for row in same),
        ops_per_s=median(row.ops_per_s for row in same),
    )


def _ratios(rounds: Sequence[Sequence[Row]]) -> list[Ratio]:
    ratios: dict[tuple[str, str, int, int], list[float]] = {}
    for rows in rounds:
        arena = {(row.what, row.size, row.threads): row.p50_ns for row in rows if row.impl == ARENA}
        for row in rows:
            mine = arena.get((row.what, row.size, row.threads))
            if mine is not None and row.impl != ARENA:
                ratios.setdefault((row.impl, row.what, row.size, row.threads), []).append(mine / row.p50_ns)
    return [Ratio(*key, time_ratio=median(of_rounds)) for key, of_rounds in ratios.items()]
