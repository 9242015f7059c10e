"""Entry point of the command ``penstock``: finds the application's packages, then runs its command line.

Installed, those packages (``services``, ``pooling``, ...) are folders of ``lib`` beside this file, where they clash
with nobody's packages of the same names. In a checkout they stand where they are, and there is no ``lib``.
"""

import os
import sys
from pathlib import Path
from typing import Final

LIB: Final = Path(__file__).with_name("lib")


def main() -> None:
    """Run ``penstock``. Neither this process nor one that it starts imports anything from the working directory."""
    if LIB.is_dir():
        _search_first(LIB)
    # Without it `python -m` and `python -c` search the working directory before all other places.
    os.environ["PYTHONSAFEPATH"] = "1"
    from services.cli.main import main as command_line

    command_line(prog_name="penstock")


def _search_first(lib: Path) -> None:
    """Import from ``lib`` before all other places, here and in the processes to come."""
    named = os.environ.get("PYTHONPATH")
    given = named.split(os.pathsep) if named else []
    elsewhere = [place for place in given if not _is_here(place)]
    if len(elsewhere) < len(given):
        sys.path[:] = [place for place in sys.path if not _is_here(place)]
    sys.path.insert(0, str(lib))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(lib), *elsewhere])


def _is_here(place: str) -> bool:
    return Path(place).resolve() == Path.cwd()
