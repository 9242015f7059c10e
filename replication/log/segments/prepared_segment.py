"""Prepared segment: a file that may become the log's next segment, already open."""

from pathlib import Path
from typing import NamedTuple


class PreparedSegment(NamedTuple):
    """A prepared file. Whoever has it closes its descriptor."""

    path: Path
    fd: int
