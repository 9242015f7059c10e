"""Demonstration: starts a fresh node, loads it as fast as it takes, and verifies the result from its log."""

import asyncio
import json
import secrets
import shutil
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from loadtest.bench.grpc_baseline import measure_grpc_baseline
from loadtest.environment import describe_environment
from loadtest.load.account_setup import open_accounts
from loadtest.load.coordinator import LoadPlan, LoadRun, run_load
from loadtest.load.frame_source import AccountSetupSource
from loadtest.load.load_report import load_table, summarize, verification_figures, verification_table
from loadtest.load.workload import Workload
from loadtest.node.leftovers import cleared_away
from loadtest.node.node_process import digests_of, running_node, status_of
from loadtest.verify.verify_log import Evidence, Verification, verify_log

_BASELINE_S: Final = 2.0
_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """Options of the command. ``began`` is the start of its process on the monotonic clock, in seconds."""

    seconds: float
    out: Path
    workload: Workload
    in_flight: int
    workers: int
    sync_mode: str
    keep: bool
    began: float


class _Display:
    """One line of live progress per stage."""

    def __init__(self, console: Console) -> None:
        columns = (
            TextColumn("{task.description:<28}"),
            BarColumn(30),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self.progress = Progress(*columns, console=console)

    def stage(self, name: str, total: float | None = None) -> TaskID:
        """Begin a stage."""
        return self.progress.add_task(name, total=total, note="")

    def done(self, stage: TaskID, note: str) -> None:
        """End a stage."""
        total = self.progress.tasks[stage].total or 1
        self.progress.update(stage, total=total, completed=total, note=note)


def run_demo(options: DemoOptions, console: Console) -> bool:
    """Run the demonstration and write its figures; True where everything was verified."""
    data_dir = options.out.parent / "demo-node"
    if data_dir.exists():
        shutil.rmtree(data_dir)
    with nullcontext() if options.keep else cleared_away(data_dir):
        figures, verdict = _measure(options, data_dir, console)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(figures, indent=2) + "\n")
    console.print(load_table(figures["load"]), verification_table(figures["verification"]), sep="\n")
    console.print(_summary(figures), highlight=False)
    console.print(f"figures written to {options.out}")
    return verdict.verified


def _measure(options: DemoOptions, data_dir: Path, console: Console) -> tuple[dict[str, Any], Verification]:
    workload = options.workload
    display = _Display(console)
    with display.progress:
        stage = display.stage("starting a node", None)
        started = time.monotonic()
        with running_node(data_dir, "--sync-mode", options.sync_mode) as node:
            serving_s = time.monotonic() - started
            display.done(stage, f"serving after {serving_s:.2f} s")
            setup = AccountSetupSource(workload, secrets.randbits(63) | 1)
            stage = display.stage("opening accounts", setup.frames)
            commits: list[float] = []

            def on_commit() -> None:
                commits.append(time.monotonic())
                display.progress.advance(stage)

            opened = asyncio.run(open_accounts(node.target, setup, on_commit))
            display.done(stage, f"{workload.accounts:,} opened and funded")
            plan = LoadPlan(
                node.target, workload, in_flight=options.in_flight, workers=options.workers, seconds=options.seconds
            )
            cpu_s = node.cpu_s()
            run = _load(plan, display)
            cpu_s = node.cpu_s() - cpu_s
            status = status_of(node.target, with_state_digest=True)
            node.stop()
        stage = display.stage("no-op gRPC server", None)
        noop_tps = measure_grpc_baseline(workload, seconds=_BASELINE_S)
        display.done(stage, f"{noop_tps / 1e6:.1f} M tx/s of the same frames")
        evidence = [Evidence(setup, opened.frames), *run.evidence()]
        stage = display.stage("verifying the log", status.applied_transactions)

        def on_progress(transactions: int) -> None:
            display.progress.update(stage, completed=transactions)

        verdict = verify_log(data_dir / "log", evidence, digests_of(status), on_progress=on_progress)
        display.done(stage, f"{verdict.transactions / max(verdict.seconds, 1e-9) / 1e6:.1f} M tx/s")
    load = summarize(run)
    figures = {
        "committed": load["committed"],
        "seconds": load["seconds"],
        "tps": load["tps"],
        "latency_ms": load["latency_ms"],
        "replicas": status.replicas,
        "durability": status.durability,
        "verified": verdict.verified,
        "noop_tps": round(noop_tps),
        "share": round(load["tps"] / noop_tps, 4),
        "node_start_s": round(serving_s, 3),
        "first_commit_s": round(commits[0] - options.began, 3),
        "node_cpu_s": round(cpu_s, 3),
        "node_resident_mib": round(status.resident_bytes / _MIB),
        "node_mapped_mib": round(status.mapped_bytes / _MIB),
        "load": load,
        "verification": verification_figures(verdict),
        "conditions": {
            **describe_environment(),
            "seed": workload.seed,
            "accounts": workload.accounts,
            "frame": workload.frame,
            "transport": "gRPC over a Unix socket, load generator on the same machine",
        },
    }
    return figures, verdict


def _load(plan: LoadPlan, display: _Display) -> LoadRun:
    stage = display.stage("load: as fast as it takes", plan.warmup_s + plan.seconds)
    before = (0, 0.0)

    def on_progress(committed: int, elapsed_s: float) -> None:
        nonlocal before
        if elapsed_s - before[1] >= 0.25:
            pace = (committed - before[0]) / (elapsed_s - before[1])
            display.progress.update(stage, completed=elapsed_s, note=f"{pace / 1e6:.2f} M committed tx/s")
            before = (committed, elapsed_s)

    run = run_load(plan, on_progress)
    display.done(stage, f"{sum(int(result.frames['succeeded'].sum()) for result in run.results):,} committed")
    return run


def _summary(figures: dict[str, Any]) -> str:
    latency = figures["latency_ms"]
    verdict = "verified" if figures["verified"] else "NOT VERIFIED"
    return (
        f"[bold]{figures['tps'] / 1e6:.2f} M committed transactions/s[/bold], durability {figures['durability']}, "
        f"{figures['replicas']} replica, p50 {latency['p50']:g} ms, p99 {latency['p99']:g} ms, {verdict}\n"
        f"{figures['share']:.0%} of the {figures['noop_tps'] / 1e6:.1f} M tx/s of a gRPC server that does nothing; "
        f"first commit {figures['first_commit_s']:g} s after the start; "
        f"the node held {figures['node_resident_mib'] - figures['node_mapped_mib']} MiB besides its tables"
    )
