"""The commands that run a node: ``serve``, ``dev`` and ``config``.

Everything but click is imported by the command that needs it, so that a mistyped option is answered at once.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

if TYPE_CHECKING:
    from services.settings.layers import Given, LoadedSettings

_F = TypeVar("_F", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--config",
        "files",
        multiple=True,
        envvar="PENSTOCK_CONFIG",
        type=click.Path(path_type=Path, dir_okay=False),
        help="YAML file of settings; may be given again, later files over earlier ones. Also $PENSTOCK_CONFIG.",
    ),
    click.option(
        "--set", "assignments", multiple=True, metavar="GROUP.NAME=VALUE", help="Any setting; may be given again."
    ),
    click.option("--data-dir", metavar="DIRECTORY", help="Where the log is kept (node.data_dir)."),
    click.option(
        "--listen",
        multiple=True,
        metavar="ADDRESS",
        help="host:port or unix:/path; may be given again (listen.addresses).",
    ),
    click.option(
        "--sync-mode",
        type=click.Choice(["block", "interval", "none"]),
        help="When the log is synced (log.sync_mode).",
    ),
)


def _settings_options(command: _F) -> _F:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command()
@_settings_options
def serve(**options: Any) -> None:
    """Run a node until it is told to stop (SIGINT, SIGTERM)."""
    _run(_load(**options))


@click.command()
@_settings_options
def dev(**options: Any) -> None:
    """Run a node for trying things out: its log is removed at the end.

    A directory that is named (--data-dir, a file, the environment) is kept.
    """
    from tempfile import TemporaryDirectory

    from services.settings.layers import DEFAULT, Given

    loaded = _load(**options)
    if loaded.sources["node.data_dir"] != DEFAULT:
        _run(loaded)
    with TemporaryDirectory(prefix="penstock-dev-") as directory:
        _run(_load(**options, extra={"node.data_dir": Given(directory, "penstock dev")}))


@click.group()
def config() -> None:
    """Look at a node's settings."""


@config.command()
@_settings_options
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def show(as_json: bool, **options: Any) -> None:
    """Print the settings in force, and where each value came from."""
    loaded = _load(**options)
    groups = loaded.settings.model_dump(mode="json")
    values = {name: groups[name.split(".")[0]][name.split(".")[1]] for name in loaded.sources}
    if as_json:
        rows = {name: {"value": values[name], "source": source} for name, source in loaded.sources.items()}
        click.echo(json.dumps(rows, indent=2))
        return
    texts = {name: _text(value) for name, value in values.items()}
    name_width, text_width = max(map(len, texts)), max(map(len, texts.values()))
    for name, source in loaded.sources.items():
        click.echo(f"{name:<{name_width}}  {texts[name]:<{text_width}}  {source}")


def _load(
    files: tuple[Path, ...],
    assignments: tuple[str, ...],
    data_dir: str | None,
    listen: tuple[str, ...],
    sync_mode: str | None,
    extra: "dict[str, Given] | None" = None,
) -> "LoadedSettings":
    from services.settings.layers import ConfigurationError, Given, load

    layer = dict(extra or {})
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise click.UsageError(f"--set {assignment}: write --set group.name=value")
        layer[name.strip()] = Given(value.strip(), "command line --set")
    named = {"node.data_dir": data_dir, "listen.addresses": list(listen), "log.sync_mode": sync_mode}
    options = {"node.data_dir": "--data-dir", "listen.addresses": "--listen", "log.sync_mode": "--sync-mode"}
    layer |= {name: Given(value, f"command line {options[name]}") for name, value in named.items() if value}
    try:
        return load(files, layer)
    except ConfigurationError as error:
        raise click.UsageError("\n  ".join(["these settings cannot be used:", *error.problems])) from None


def _text(value: Any) -> str:
    """Write a value as the command line takes it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, list) else str(value)


def _run(loaded: "LoadedSettings") -> NoReturn:
    """Run the node; ends the command with the node's exit code."""
    import logging
    import subprocess

    import uvloop

    from services.runtime import grpc_tuning as polling
    from txqueue.jit import kernel_cache

    if not kernel_cache.is_complete():
        click.echo("compiling for this machine, which takes some seconds at the first start", err=True)
        subprocess.run([sys.executable, "-m", "services.runtime.warmup"], check=True)

    polling.read_where_it_is_awaited()

    from replication.log.errors import LogError
    from services import node
    from services.rpc.server import ListenError
    from services.runtime.debug_monitor import MonitorError
    from services.telemetry.telemetry import TelemetryError
    from statestore.errors import StateStoreError

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        code = uvloop.run(node.run(loaded.settings))
    except (LogError, StateStoreError, ListenError, TelemetryError, MonitorError) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        raise click.ClickException(f"{place}{error.strerror or error}") from None
    sys.exit(code)
