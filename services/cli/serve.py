"""``penstock serve``: a node, run until it is told to stop.

Everything but click is imported by the command that needs it, so that a mistyped option is answered at once.
"""

import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, NoReturn

import click

from services.cli.settings_options import load_settings, settings_options

if TYPE_CHECKING:
    from services.settings.model import NodeSettings

RunNode = Callable[["NodeSettings"], Coroutine[Any, Any, int]]
"""Runs a node to its end and returns the process's exit code, as `services.node_process.run` does."""


@click.command()
@settings_options
@click.pass_obj
def serve(run: RunNode | None, /, **options: Any) -> None:
    """Run a node until it is told to stop (SIGINT, SIGTERM)."""
    run_node(load_settings(**options).settings, run)


def run_node(settings: "NodeSettings", run: RunNode | None) -> NoReturn:
    """Run a node; ends the process with the node's exit code.

    Args:
        settings: the node's.
        run: what runs it; None is `services.node_process.run`. Another is given as click's ``obj`` by whoever calls the
            command.

    Raises:
        ClickException: the node could not start; the message says why and what to do.
    """
    import gc

    gc.disable()  # what the start makes lives as long as the node, which collects garbage once it has started
    try:
        sys.exit(_run(settings, run))
    finally:
        gc.enable()


def _run(settings: "NodeSettings", run: RunNode | None) -> int:
    import logging
    import subprocess

    import uvloop

    from services.runtime import grpc_tuning
    from txqueue.jit import kernel_cache

    if not kernel_cache.is_complete():
        click.echo("compiling for this machine, which takes some seconds at the first start", err=True)
        # Where that fails the node compiles for itself.
        subprocess.run([sys.executable, "-m", "services.runtime.warmup"], check=False)

    grpc_tuning.read_where_it_is_awaited()

    from replication.log.errors import LogError
    from services import node_process
    from services.admission.session_bounds import BoundsNotTaken
    from services.pipeline.block_clock import ClockAhead
    from services.rpc.serving.listening import ListenError
    from services.runtime.debug_monitor import MonitorError
    from services.telemetry.telemetry import TelemetryError
    from statestore.errors import StateStoreError

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        return uvloop.run((run or node_process.run)(settings))
    except (LogError, ClockAhead, StateStoreError, ListenError, TelemetryError, MonitorError, BoundsNotTaken) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        raise click.ClickException(f"{place}{error.strerror or error}") from None
