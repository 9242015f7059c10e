"""The command ``penstock``: a group of the commands that installed packages register.

They register as entry points of the group ``penstock.commands``. Only the one that is called is imported: ``penstock
--help`` costs neither numba nor gRPC.
"""

import ast
from importlib.metadata import EntryPoint, distribution, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import click

from services.release import DISTRIBUTION

_GROUP: Final = "penstock.commands"


class InstalledCommands(click.Group):
    """A group of all commands that the installed packages register."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Name all commands, in order."""
        return sorted(entry_points(group=_GROUP).names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as click calls it
        """Import a command, or give None where no package registers it."""
        # Those of our own distribution are found without reading all that is installed.
        own = distribution(DISTRIBUTION).entry_points.select(group=_GROUP, name=cmd_name)
        for entry in own or entry_points(group=_GROUP, name=cmd_name):
            command = entry.load()
            assert isinstance(command, click.Command)
            return command
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as click calls it
        """List the commands with what each does, without importing any."""
        rows = [(entry.name, _summary(entry)) for entry in sorted(entry_points(group=_GROUP))]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _summary(entry: EntryPoint) -> str:
    """Read the first line of a command's docstring from its source: importing it would import all that it uses."""
    try:
        spec = find_spec(entry.module)
    except ModuleNotFoundError:
        return ""
    if spec is None or spec.origin is None:
        return ""
    for node in ast.parse(Path(spec.origin).read_bytes()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == entry.attr:
            return (ast.get_docstring(node) or "").partition("\n")[0]
    return ""


@click.command(cls=InstalledCommands)
@click.version_option(package_name=DISTRIBUTION, message="%(prog)s %(version)s")
def main() -> None:
    """Penstock: a high-throughput transaction pipeline."""


if __name__ == "__main__":
    main(prog_name="penstock")
