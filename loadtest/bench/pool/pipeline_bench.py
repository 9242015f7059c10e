"""Benchmark of the whole pipeline with pools and without: throughput, latency, collector pauses, resident memory.

Both nodes live from start to end and are loaded in turn, interval by interval, as fast as they take it. Ratios are
taken within a pair of intervals, so that drift of the machine's speed meets both.
"""

import asyncio
import json
import secrets
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

import grpc

from loadtest.load.account_setup import open_accounts
from loadtest.load.coordinator import LoadPlan, run_load
from loadtest.load.frame_source import AccountSetupSource
from loadtest.load.load_report import summarize
from loadtest.load.workload import Workload
from loadtest.node.node_process import NodeProcess, running_node, status_of
from penstock.v1.pooling_pb2 import GetPoolMetricsRequest
from penstock.v1.pooling_pb2_grpc import PoolServiceStub
from pooling.typed_pools import PoolKind

POOLED: Final = "pooled"
UNPOOLED: Final = "unpooled"
_INTERVALS: Final = 10
_INTERVAL_S_MIN: Final = 2.0
_MIB: Final = 1 << 20


@dataclass
class _LoadInterval:
    tps: float
    p99_ms: float
    resident_mib: float  # at its end, without the state's tables and the log's mappings


@dataclass
class _Runner:
    """A node and the figures of its intervals."""

    node: NodeProcess
    report: Path
    intervals: list[_LoadInterval] = field(default_factory=list)

    def run_interval(self, workload: Workload, seconds: float) -> None:
        figures = summarize(run_load(LoadPlan(self.node.target, workload, seconds=seconds, warmup_s=min(1.0, seconds))))
        status = status_of(self.node.target)
        resident_mib = (status.resident_bytes - status.mapped_bytes) / _MIB
        self.intervals.append(_LoadInterval(figures["tps"], figures["latency_ms"]["p99"], resident_mib))

    def finish(self) -> dict[str, Any]:
        """Stop the node and return its figures."""
        with grpc.insecure_channel(self.node.target) as channel:
            pools = PoolServiceStub(channel).GetPoolMetrics(GetPoolMetricsRequest(), timeout=60.0).pools
        (blocks,) = (pool for pool in pools if pool.name == PoolKind.BLOCKS)
        self.node.stop()
        pauses = json.loads(self.report.read_text())
        settled, last = self.intervals[len(self.intervals) // 10], self.intervals[-1]
        return {
            "tps": round(median(interval.tps for interval in self.intervals)),
            "p99_ms": round(median(interval.p99_ms for interval in self.intervals), 3),
            "resident_mib": [round(interval.resident_mib, 1) for interval in self.intervals],
            "resident_drift": round(last.resident_mib / settled.resident_mib - 1, 4),
            "blocks_borrowed": blocks.borrows,
            "blocks_made": blocks.made,
            "pauses": pauses["count"],
            "pause_ms": {name: round(pauses[f"{name}_ns"] / 1e6, 3) for name in ("p50", "p99", "p999", "max")},
        }


def measure_pipeline(
    directory: Path, seconds: float, workload: Workload, on_progress: Callable[[str], None] = lambda _what: None
) -> dict[str, Any]:
    """Load both nodes for so many seconds each; returns the figures of both, and the ratios of pooled to unpooled.

    ``directory`` is for the nodes' data.

    Raises:
        AccountSetupFailed: the accounts could not be opened.
        NodeFailed: a node did not start or stop well.
        WorkerFailed: a worker ended without its result.
    """
    intervals = max(1, min(_INTERVALS, int(seconds / _INTERVAL_S_MIN)))
    with ExitStack() as stack:
        runners = {}
        for variant in (POOLED, UNPOOLED):
            on_progress(f"starting a node, {variant}")
            data_dir, report = directory / variant, directory / f"{variant}.json"
            program = (sys.executable, "-m", "loadtest.bench.pool.measured_node", variant, str(report))
            node = stack.enter_context(running_node(data_dir, program=program))
            setup = AccountSetupSource(workload, secrets.randbits(63) | 1)
            asyncio.run(open_accounts(node.target, setup, lambda: None))
            runners[variant] = _Runner(node, report)
        for interval in range(intervals):
            # Each goes first every other time, so that what one interval leaves behind burdens both alike.
            for variant in (POOLED, UNPOOLED) if interval % 2 == 0 else (UNPOOLED, POOLED):
                on_progress(f"load, interval {interval + 1} of {intervals}, {variant}")
                runners[variant].run_interval(workload, seconds / intervals)
        figures: dict[str, Any] = {variant: runner.finish() for variant, runner in runners.items()}
    pairs = list(zip(runners[POOLED].intervals, runners[UNPOOLED].intervals, strict=True))
    figures["tps_ratio"] = round(median(pooled.tps / unpooled.tps for pooled, unpooled in pairs), 3)
    figures["p99_ratio"] = round(median(pooled.p99_ms / unpooled.p99_ms for pooled, unpooled in pairs), 3)
    figures["seconds"] = seconds
    return figures
