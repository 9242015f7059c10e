"""``penstock dev``: a node for trying things out, whose log goes with it."""

from typing import Any

import click

from services.cli.serve import RunNode, run_node
from services.cli.settings_options import load_settings, settings_options


@click.command()
@settings_options
@click.pass_obj
def dev(run: RunNode | None, /, **options: Any) -> None:
    """Run a node for trying things out: its log is removed at the end.

    A directory that is named (--data-dir, a file, the environment) is kept.
    """
    from tempfile import TemporaryDirectory

    from services.settings.layers import DEFAULT, Given

    loaded = load_settings(**options)
    if loaded.sources["node.data_dir"] != DEFAULT:
        run_node(loaded.settings, run)
    with TemporaryDirectory(prefix="penstock-dev-") as directory:
        run_node(load_settings(**options, extra={"node.data_dir": Given(directory, "penstock dev")}).settings, run)
