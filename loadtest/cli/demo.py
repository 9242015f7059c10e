"""The command ``penstock demo``.

Everything but click is imported when the command runs, so that a mistyped option is answered at once.
"""

import time
from pathlib import Path
from typing import Any

import click


@click.command()
@click.option("--seconds", default=10.0, show_default=True, help="Measured time.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), default=Path("build/demo.json"), show_default=True
)
@click.option("--accounts", default=100_000, show_default=True)
@click.option("--distribution", default="uniform", show_default=True, help="uniform, or zipf:EXPONENT.")
@click.option("--in-flight", default=7, show_default=True, help="Frames in flight per worker.")
@click.option("--workers", default=1, show_default=True, help="Generator processes.")
@click.option("--seed", default=1, show_default=True)
@click.option("--sync-mode", type=click.Choice(["block", "interval", "none"]), default="block", show_default=True)
@click.option("--keep", is_flag=True, help="Keep the node's log.")
def demo(**options: Any) -> None:
    """Start a node, load it as fast as it takes, verify the result, and print a summary."""
    from rich.console import Console

    from loadtest.load.account_setup import AccountSetupFailed
    from loadtest.load.coordinator import WorkerFailed
    from loadtest.load.demo import DemoOptions, run_demo
    from loadtest.load.workload import Workload, WorkloadError, parse_distribution
    from loadtest.node.node_process import NodeFailed

    try:
        zipf = parse_distribution(options.pop("distribution"))
        workload = Workload(accounts=options.pop("accounts"), zipf=zipf, seed=options.pop("seed"))
        verified = run_demo(DemoOptions(workload=workload, began=_process_start(), **options), Console())
    except WorkloadError as error:
        raise click.UsageError(str(error)) from None
    except (NodeFailed, AccountSetupFailed, WorkerFailed) as error:
        raise click.ClickException(str(error)) from None
    if not verified:
        raise click.ClickException("the log, the receipts and the node's digests do not agree; the problems are above")


def _process_start() -> float:
    """When this process was started, on the monotonic clock, in seconds: the imports count too."""
    import psutil

    return time.monotonic() - (time.time() - psutil.Process().create_time())
