"""What a table shows in a terminal, for tests."""

import io

from rich.console import Console
from rich.table import Table


def rows_of(*tables: Table) -> list[list[str]]:
    """The words of each line."""
    console = Console(width=250, file=io.StringIO())
    console.print(*tables)
    assert isinstance(console.file, io.StringIO)
    return [line.replace("│", " ").split() for line in console.file.getvalue().splitlines()]
