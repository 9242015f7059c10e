"""The command ``penstock load``.

Everything but click is imported when the command runs, so that a mistyped option is answered at once.
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from services.cli.target_option import target_option

if TYPE_CHECKING:
    from loadtest.load.coordinator import LoadPlan
    from loadtest.load.workload import Workload

_STDOUT: Final = Path("-")


def _directory_of_segments(_context: click.Context, _option: click.Parameter, value: Path | None) -> Path | None:
    """Find the log's directory, given it or the data directory that it is in."""
    if value is None:
        return None
    for directory in (value, value / "log"):
        if (directory / "cluster").is_file():  # a log has it before its first block
            return directory
    raise click.BadParameter(
        f"{value} is neither a node's data directory nor the log in it: no file `cluster` is in {value} or in "
        f"{value / 'log'}; give the --data-dir of the node that is loaded"
    )


@click.command()
@target_option
@click.option("--rate", type=float, help="Open loop: offered transactions per second, over all workers.")
@click.option("--closed", is_flag=True, help="Closed loop: as fast as it takes. The default without --rate.")
@click.option("--in-flight", default=7, show_default=True, help="Frames in flight per worker (closed loop).")
@click.option("--workers", default=1, show_default=True, help="Generator processes.")
@click.option("--seconds", default=10.0, show_default=True, help="Measured time.")
@click.option("--warmup", "warmup_s", default=1.0, show_default=True, help="Seconds before that, left out.")
@click.option("--linger-ms", default=1.0, show_default=True, help="Open loop: collect a frame for so long.")
@click.option("--accounts", default=100_000, show_default=True, help="Keys of each kind: accounts, counters, values.")
@click.option("--distribution", default="uniform", show_default=True, help="uniform, or zipf:EXPONENT.")
@click.option("--mix", default="transfer=100", show_default=True, help="Shares, as in transfer=90,put=5,add=5.")
@click.option("--frame", default=10_000, show_default=True, help="Transactions in a frame, at most.")
@click.option("--value-bytes", default=64, show_default=True, help="Length of values and of appended payloads.")
@click.option("--seed", default=1, show_default=True, help="The same seed makes the same transactions.")
@click.option(
    "--json",
    "json_file",
    is_flag=False,
    flag_value=str(_STDOUT),
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="[FILE]",
    help="Print all figures as a JSON object and everything else on the standard error, or write them to a file.",
)
@click.option(
    "--verify",
    "log_directory",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    callback=_directory_of_segments,
    help="Check the node's log afterwards: the node's data directory, or the log in it.",
)
def load(**options: Any) -> None:
    """Load a running node, and report throughput and latency."""
    from loadtest.load.workload import WorkloadError

    try:
        plan, workload = _plan(options)
    except WorkloadError as error:
        raise click.UsageError(str(error)) from None
    if not _run(plan, workload, options["json_file"], options["log_directory"]):
        sys.exit(1)


def _plan(options: dict[str, Any]) -> "tuple[LoadPlan, Workload]":
    from loadtest.load.coordinator import LoadPlan
    from loadtest.load.workload import Workload, WorkloadError, parse_distribution, parse_mix

    if options["closed"] and options["rate"]:
        raise WorkloadError("--closed and --rate exclude each other")
    if options["rate"] is not None and options["rate"] <= 0:
        raise WorkloadError("--rate must be above 0; leave it out for a closed loop")
    workload = Workload(
        accounts=options["accounts"],
        zipf=parse_distribution(options["distribution"]),
        mix=parse_mix(options["mix"]),
        frame=options["frame"],
        value_bytes=options["value_bytes"],
        seed=options["seed"],
    )
    plan = LoadPlan(
        options["target"],
        workload,
        rate=options["rate"] or 0.0,
        in_flight=options["in_flight"],
        workers=options["workers"],
        seconds=options["seconds"],
        warmup_s=options["warmup_s"],
        linger_ms=options["linger_ms"],
    )
    return plan, workload


def _run(plan: "LoadPlan", workload: "Workload", json_file: Path | None, log_directory: Path | None) -> bool:
    import asyncio
    import secrets

    from rich.console import Console

    from loadtest.environment import describe_environment
    from loadtest.load.account_setup import AccountSetupFailed, open_accounts
    from loadtest.load.coordinator import WorkerFailed, run_load
    from loadtest.load.frame_source import AccountSetupSource
    from loadtest.load.load_report import load_table, summarize, verification_figures, verification_table
    from loadtest.node.node_process import digests_of, is_serving, status_of
    from loadtest.verify.verify_log import Evidence, verify_log

    console = Console(stderr=json_file == _STDOUT)
    if not is_serving(plan.target):
        raise click.ClickException(f"no node serves at {plan.target}: start one with `penstock dev --listen ...`")
    evidence = []
    try:
        if workload.mix.get("transfer", 0) > 0:
            setup = AccountSetupSource(workload, secrets.randbits(63) | 1)
            with console.status(f"opening {workload.accounts:,} accounts"):
                opened = asyncio.run(open_accounts(plan.target, setup, lambda: None))
            evidence.append(Evidence(setup, opened.frames))
        with console.status("load") as status:
            run = run_load(plan, lambda committed, elapsed: status.update(f"{committed:,} committed, {elapsed:.1f} s"))
    except (AccountSetupFailed, WorkerFailed) as error:
        raise click.ClickException(str(error)) from None
    figures = {**summarize(run), "conditions": describe_environment()}
    console.print(load_table(figures))
    verified = True
    if log_directory is not None:
        digests = digests_of(status_of(plan.target))
        with console.status("verifying the log") as status:
            verdict = verify_log(
                log_directory,
                [*evidence, *run.evidence()],
                digests,
                on_progress=lambda transactions: status.update(f"verifying the log: {transactions:,} transactions"),
            )
        verified = verdict.verified
        figures["verification"] = verification_figures(verdict)
        console.print(verification_table(figures["verification"]))
    if json_file == _STDOUT:
        click.echo(json.dumps(figures))
    elif json_file is not None:
        json_file.write_text(json.dumps(figures, indent=2) + "\n")
    return verified
