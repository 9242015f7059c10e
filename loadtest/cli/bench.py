"""The commands ``penstock bench``: one part measured alone.

Everything but click is imported when the command runs, so that a mistyped option is answered at once.
"""

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from loadtest.cli.bench_pair import pair

if TYPE_CHECKING:
    from loadtest.node.node_process import NodeProcess


@click.group()
def bench() -> None:
    """Measure one part alone."""


bench.add_command(pair)


@bench.command()
@click.option("--seconds", default=5.0, show_default=True, help="Measured time.")
@click.option("--frame", default=10_000, show_default=True, help="Transactions in a frame.")
@click.option("--rounds", default=3, show_default=True, help="Repetitions; the machine's speed drifts.")
def grpc(seconds: float, frame: int, rounds: int) -> None:
    """Throughput of a gRPC server that does nothing with the same frames."""
    from loadtest.bench.grpc_baseline import measure_grpc_baseline
    from loadtest.load.workload import Workload

    figures = sorted(measure_grpc_baseline(Workload(frame=frame), seconds=seconds) for _ in range(rounds))
    click.echo(json.dumps({"noop_tps": [round(tps) for tps in figures], "frame": frame, "seconds": seconds}))


@bench.command()
@click.option("--coroutines", default=1000, show_default=True)
@click.option("--seconds", default=5.0, show_default=True, help="Measured time.")
def single(coroutines: int, seconds: float) -> None:
    """Throughput and latency of single transactions from many coroutines of one client, on a fresh node."""
    import uvloop

    from loadtest.bench.single_transactions import measure_single
    from loadtest.load.workload import Workload

    with _bench_node() as node:
        click.echo(json.dumps(uvloop.run(measure_single(node.target, Workload(), coroutines, seconds))))


@bench.command()
@click.option("--count", default=500, show_default=True, help="Transactions.")
def lone(count: int) -> None:
    """Latency of one transaction at a time, on a fresh, idle node."""
    import uvloop

    from loadtest.bench.single_transactions import measure_lone

    with _bench_node() as node:
        click.echo(json.dumps(uvloop.run(measure_lone(node.target, count))))


@bench.command("open-loop")
@click.option("--rate", default=1_000_000.0, show_default=True, help="Offered transactions per second.")
@click.option("--seconds", default=10.0, show_default=True, help="Measured time.")
def open_loop(rate: float, seconds: float) -> None:
    """Latency at a fixed rate, from each transaction's due time, on a fresh node."""
    import asyncio
    import secrets

    from loadtest.load.account_setup import open_accounts
    from loadtest.load.coordinator import LoadPlan, run_load
    from loadtest.load.frame_source import AccountSetupSource
    from loadtest.load.load_report import summarize
    from loadtest.load.workload import Workload

    workload = Workload()
    with _bench_node() as node:
        asyncio.run(open_accounts(node.target, AccountSetupSource(workload, secrets.randbits(63) | 1), lambda: None))
        figures = summarize(run_load(LoadPlan(node.target, workload, rate=rate, seconds=seconds)))
    click.echo(json.dumps(figures))


@bench.command()
@click.option("--transactions", default=10_000_000, show_default=True, help="In the full log.")
def restart(transactions: int) -> None:
    """Seconds from a node's start until it serves, on an empty log and on a full one."""
    from loadtest.bench.restart import measure_restart

    with _bench_directory() as directory:
        click.echo(json.dumps(measure_restart(directory, transactions)))


@bench.command()
@click.option("--seeds", default=5, show_default=True, help="Traces of each kind of demand.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def sizing(seeds: int, as_json: bool) -> None:
    """Policies of pool sizing on held-out demand: learned, fixed, high-water marks, and an oracle."""
    from rich.console import Console

    from loadtest.bench.sizing.sizing_comparison import FIRST_HELD_OUT_SEED, compare, verdicts
    from loadtest.bench.sizing.sizing_report import rows_table, verdicts_table

    rows = compare(range(FIRST_HELD_OUT_SEED, FIRST_HELD_OUT_SEED + seeds))
    judged = verdicts(rows)
    if as_json:
        figures = {"rows": [row.as_dict() for row in rows], "verdicts": [verdict.as_dict() for verdict in judged]}
        click.echo(json.dumps({**figures, "seeds": seeds}))
        return
    console = Console()
    console.print(rows_table(rows), verdicts_table(judged))


def _numbers(_context: click.Context, _option: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(number) for number in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a list of numbers, as in 1,2,4") from None
    if min(numbers) < 1:
        raise click.BadParameter("all numbers must be at least 1")
    return numbers


@bench.command()
@click.option("--sizes", default="32,64,256,1024,4096,16384,65536", show_default=True, callback=_numbers, help="Bytes.")
@click.option("--threads", default="1,2,4,16,64", show_default=True, callback=_numbers)
@click.option("--seconds", default=0.05, show_default=True, help="Measured time of each row in each round.")
@click.option("--rounds", default=3, show_default=True, help="Repetitions, of which the medians are shown.")
@click.option("--pipeline", default=20.0, show_default=True, help="Seconds to load a node with pools, and one without.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def pool(pipeline: float, as_json: bool, **options: Any) -> None:
    """The arena and the pools against other allocators and pools; the pipeline with pools and without."""
    from rich.console import Console

    from loadtest.bench.pool.pipeline_bench import measure_pipeline
    from loadtest.bench.pool.pool_bench import AllocatorLoopFailed, PoolBenchPlan, run_pool_bench
    from loadtest.bench.pool.pool_report import glibc_table, pipeline_table, pool_table
    from loadtest.environment import describe_environment
    from loadtest.load.account_setup import AccountSetupFailed
    from loadtest.load.coordinator import WorkerFailed
    from loadtest.load.workload import Workload
    from loadtest.node.node_process import NodeFailed

    console = Console(stderr=as_json)
    try:
        with console.status("pools") as status, _bench_directory() as directory:
            run = run_pool_bench(PoolBenchPlan(**options), status.update)
            nodes = measure_pipeline(directory, pipeline, Workload(), status.update) if pipeline > 0 else None
    except (AllocatorLoopFailed, NodeFailed, AccountSetupFailed, WorkerFailed) as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps({**run.as_dict(), "pipeline": nodes, "conditions": describe_environment()}))
        return
    console.print(pool_table(run), glibc_table(run), run.summary(), *run.missing)
    if nodes is not None:
        console.print(pipeline_table(nodes))


@bench.command()
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.option("--quick", is_flag=True, help="A few cells for a moment each: shows that all works, not how fast.")
@click.option("--producers", type=click.IntRange(1, 256), multiple=True, help="Instead of 1, 2, 4, 16, 64 and 256.")
@click.option("--batch", "batches", type=click.IntRange(1, 10_000), multiple=True, help="Instead of 1 to 10,000.")
@click.option("--queue", "only", multiple=True, help="Only these, named as in the report.")
@click.option("--repeats", type=click.IntRange(1), help="Repetitions; figures are their medians.  [default: 5]")
def queue(as_json: bool, quick: bool, repeats: int | None, **chosen: Any) -> None:
    """The transaction queue beside moodycamel's, Boost's and Python's, in one run; nothing may get lost.

    All of it takes forty minutes, most of which Python's own queues need for 64 and 256 producers.
    """
    from dataclasses import replace

    from rich.console import Console

    from loadtest.bench.queue.queue_bench import QUICK, Plan, run_bench
    from loadtest.bench.queue.queue_report import findings, findings_table, report, rows_table
    from loadtest.bench.queue.timed_run import RecordsLost

    changes = {name: value for name, value in {**chosen, "repeats": repeats}.items() if value}
    try:
        results, measured_under = run_bench(
            replace(QUICK if quick else Plan(), **changes), lambda text: click.echo(text, err=True)
        )
    except RecordsLost as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps(report(results, measured_under), indent=2))
        return
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(rows_table(results), findings_table(findings(results)))
    click.echo(json.dumps(measured_under))


@contextmanager
def _bench_directory() -> Iterator[Path]:
    """A fresh directory under build/, on a real disk, gone afterwards."""
    from loadtest.node.leftovers import cleared_away

    directory = Path("build/bench-node")
    shutil.rmtree(directory, ignore_errors=True)
    with cleared_away(directory):
        yield directory


@contextmanager
def _bench_node() -> "Iterator[NodeProcess]":
    from loadtest.node.node_process import running_node

    with _bench_directory() as directory, running_node(directory) as node:
        yield node
