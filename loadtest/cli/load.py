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
    from rich.console import Console

    from loadtest.load.coordinator import LoadPlan
    from loadtest.load.workload import Workload
    from loadtest.verify.verify_log import Evidence

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
    """Load a running node, and report throughput and latency.

    A restart of the node delays its answers, and no more. Ctrl-C or SIGTERM ends the load early: the report, and the
    verification, are of what was done by then, and the exit code is 130 or 143. A second signal ends it at once.
    """
    from loadtest.load.workload import WorkloadError

    try:
        plan, workload = _plan(options)
    except WorkloadError as error:
        raise click.UsageError(str(error)) from None
    sys.exit(_run(plan, workload, options["json_file"], options["log_directory"]))


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


def _run(plan: "LoadPlan", workload: "Workload", json_file: Path | None, log_directory: Path | None) -> int:
    """Run a load and report; return the exit code."""
    import secrets

    from rich.console import Console

    from loadtest.environment import describe_environment
    from loadtest.load.account_setup import AccountSetupFailed, open_accounts
    from loadtest.load.coordinator import LoadEndedEarly, WorkerFailed, run_load
    from loadtest.load.frame_source import AccountSetupSource
    from loadtest.load.interruption import Interruption
    from loadtest.load.load_report import load_table, summarize
    from loadtest.node.node_process import is_serving
    from loadtest.verify.verify_log import Evidence

    console = Console(stderr=json_file == _STDOUT)
    if not is_serving(plan.target):
        raise click.ClickException(f"no node serves at {plan.target}: start one with `penstock dev --listen ...`")
    evidence = []
    with Interruption() as interruption:
        try:
            if workload.mix.get("transfer", 0) > 0:
                setup = AccountSetupSource(workload, secrets.randbits(63) | 1)
                with console.status(f"opening {workload.accounts:,} accounts"):
                    opened = interruption.run(open_accounts(plan.target, setup, lambda: None))
                if opened is None:
                    # Raised here, to be told below like an end that comes later.
                    raise LoadEndedEarly("it was ended while accounts were opened: no load was run")  # noqa: TRY301
                evidence.append(Evidence(setup, opened.frames))
            with console.status("load") as status:
                run = run_load(
                    plan,
                    lambda committed, elapsed: status.update(f"{committed:,} committed, {elapsed:.1f} s"),
                    lambda: interruption,
                )
        except LoadEndedEarly as error:
            console.print(str(error))
            return interruption.exit_code
        except (AccountSetupFailed, WorkerFailed) as error:
            raise click.ClickException(str(error)) from None
        figures = {
            **summarize(run),
            "ended_by": interruption.signal.name if interruption.signal else None,
            "conditions": describe_environment(),
        }
        console.print(load_table(figures))
        verified = True
        if log_directory is not None:
            interruption.raises = True
            figures["verification"] = _verification(console, plan.target, log_directory, [*evidence, *run.evidence()])
            verified = figures["verification"] is None or figures["verification"]["verified"]
    if json_file == _STDOUT:
        click.echo(json.dumps(figures))
    elif json_file is not None:
        json_file.write_text(json.dumps(figures, indent=2) + "\n")
    return interruption.exit_code if verified else 1


def _verification(
    console: "Console", target: str, log_directory: Path, evidence: "list[Evidence]"
) -> dict[str, Any] | None:
    """The figures of the verification; None where a signal has ended it."""
    from loadtest.load.load_report import verification_figures, verification_table
    from loadtest.node.node_process import NodeFailed, digests_of, status_once_it_answers
    from loadtest.verify.verify_log import verify_log

    try:
        try:
            with console.status("asking the node for its digests"):
                digests = digests_of(status_once_it_answers(target))
        except NodeFailed as error:
            console.print(f"{error}; its log is verified without its digests")
            digests = None
        with console.status("verifying the log") as status:
            verdict = verify_log(
                log_directory,
                evidence,
                digests,
                on_progress=lambda transactions: status.update(f"verifying the log: {transactions:,} transactions"),
            )
    except KeyboardInterrupt:
        console.print("the verification was ended: it says nothing about the log")
        return None
    figures = verification_figures(verdict)
    console.print(verification_table(figures))
    return figures
