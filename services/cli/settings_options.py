"""Settings on the command line: the options of every command that takes a node's settings, and their loading."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

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
        help="YAML file of settings; may be given again, later files override earlier ones. Also $PENSTOCK_CONFIG.",
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


def settings_options(command: _F) -> _F:
    """Give a command the options that `load_settings` takes."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def load_settings(
    files: tuple[Path, ...],
    assignments: tuple[str, ...],
    data_dir: str | None,
    listen: tuple[str, ...],
    sync_mode: str | None,
    extra: "dict[str, Given] | None" = None,
) -> "LoadedSettings":
    """Load the settings that these options name, over ``extra``, the environment and the defaults.

    Raises:
        UsageError: the settings cannot be used.
    """
    from services.settings.layers import ConfigurationError, Given, load

    layer = dict(extra or {})
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise click.UsageError(f"--set {assignment}: write --set group.name=value")
        layer[name.strip()] = Given(value.strip(), "command line --set")
    named = {"node.data_dir": data_dir, "listen.addresses": list(listen), "log.sync_mode": sync_mode}
    options = {"node.data_dir": "--data-dir", "listen.addresses": "--listen", "log.sync_mode": "--sync-mode"}
    layer |= {
        name: Given(value, f"command line {options[name]}") for name, value in named.items() if value not in (None, [])
    }
    try:
        return load(files, layer)
    except ConfigurationError as error:
        raise click.UsageError("\n  ".join(["these settings cannot be used:", *error.problems])) from None
