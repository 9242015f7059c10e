"""The command ``penstock bench pair``.

Everything but click is imported when the command runs, so that a mistyped option is answered at once.
"""

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from loadtest.bench.pair.pair_bench import Comparison, Pair, Run
    from loadtest.bench.pair.source_tree import SourceTree

_HIGHER_IS_BETTER: Final = {"tps": True, "p50_ms": False, "p99_ms": False, "start_s": False, "node_cpu_ns": False}


class _NotMeasured(click.ClickException):
    exit_code = 2


@click.command()
@click.option("--base", required=True, metavar="COMMIT", help="Before.")
@click.option("--head", metavar="COMMIT", help="After, instead of the working tree.")
@click.option("--pairs", default=20, show_default=True, type=click.IntRange(min=1), help="A 90 % interval needs 5.")
@click.option("--metric", default="tps", show_default=True, help=f"{', '.join(_HIGHER_IS_BETTER)}; or a path in JSON.")
@click.option("--floor", default=0.95, show_default=True, help="Exit with 1 where the interval is not above.")
@click.option("--seconds", default=2.0, show_default=True, help="Measured time of a run of load.")
@click.option("--warmup", "warmup_s", default=0.5, show_default=True, help="Seconds before that, left out.")
@click.option("--command", help="Run this in each tree instead of a load; it prints JSON and nothing else.")
@click.option("--lower-is-better", is_flag=True, help="Of the metric of a --command.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), default=Path("build/bench-pair.json"), show_default=True
)
def pair(
    base: str,
    head: str | None,
    pairs: int,
    metric: str,
    floor: float,
    seconds: float,
    warmup_s: float,
    command: str | None,
    lower_is_better: bool,
    out: Path,
) -> None:
    """The ratio of after to before, from interleaved pairs of short runs of two commits.

    A run starts a node on an empty log, loads it as fast as it takes, and stops it: the load generator and the node are
    those of the run's commit, through `penstock serve` and `penstock load`. Each commit has a first run that is not
    counted, in which it compiles, and its log is verified. Exits with 1 where the interval is not above the floor, with
    2 where nothing could be measured.
    """
    from rich.console import Console

    from loadtest.bench.pair.pair_bench import MetricMissing, compare, run_pairs
    from loadtest.bench.pair.pair_report import comparison_figures, comparison_table, progress_line, verdict_line
    from loadtest.bench.pair.source_tree import TreeFailed, repository_of, tree_of_commit, working_tree
    from loadtest.bench.pair.tree_run import NodeLoad, RunFailed, run_command, run_load
    from loadtest.environment import describe_environment
    from loadtest.node.node_process import NodeFailed

    if command is None and metric not in _HIGHER_IS_BETTER:
        raise click.UsageError(f"--metric {metric}: a load gives {', '.join(_HIGHER_IS_BETTER)}")
    directions = _HIGHER_IS_BETTER if command is None else {metric: not lower_is_better}
    load = NodeLoad(seconds, warmup_s)

    def side(tree: "SourceTree") -> "Run":
        if command is not None:
            run_command(tree, command)
            return lambda _seed: run_command(tree, command)
        run_load(tree, load, data_dir, seed=0, verify=True)
        return partial(run_load, tree, load, data_dir)

    def comparison_of(done: "list[Pair]", name: str) -> "Comparison":
        return compare(done, name, higher_is_better=directions[name])

    try:
        repository = repository_of(Path.cwd())
        trees = repository / "build" / "bench-pair"
        data_dir = trees / "node"
        python = Path(sys.executable)
        busy = os.getloadavg()[0]
        click.echo(f"preparing {base}")
        before = tree_of_commit(repository, base, trees, python)
        after = tree_of_commit(repository, head, trees, python) if head else working_tree(repository, python)
        click.echo(f"before: {before.commit}, after: {after.commit}; a first run of each, not counted")
        done = run_pairs(
            side(before),
            side(after),
            pairs,
            lambda so_far: click.echo(progress_line(comparison_of(so_far, metric), pairs)),
        )
        comparisons = {name: comparison_of(done, name) for name in directions}
    except (TreeFailed, NodeFailed, RunFailed, MetricMissing) as error:
        raise _NotMeasured(str(error)) from None
    chosen = comparisons[metric]
    measured_under = {
        **describe_environment(),
        "commit": after.commit,
        "base": before.commit,
        "run": command or f"closed loop, {warmup_s:g} s of warm-up, {seconds:g} s measured",
        "others_load_average": round(busy, 2),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    figures = {name: comparison_figures(comparison) for name, comparison in comparisons.items()}
    report = {"metric": metric, "floor": floor, "above_floor": chosen.lies_above(floor), "pairs": pairs}
    out.write_text(json.dumps({**report, "figures": figures, "conditions": measured_under}, indent=2) + "\n")
    Console(width=None if sys.stdout.isatty() else 120).print(comparison_table(list(comparisons.values())))
    click.echo(json.dumps(measured_under))
    click.echo(verdict_line(chosen, floor))
    click.echo(f"figures written to {out}")
    if not chosen.lies_above(floor):
        sys.exit(1)
