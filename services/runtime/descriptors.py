"""File descriptors of the process: how many there may be, and how many there are.

The soft limit is commonly 1,024 for the sake of programs that use ``select``, which a node does not; connections alone
would use that up, and then the log could open no segment.
"""

import contextlib
import resource
from pathlib import Path
from typing import Final

_DIRECTORY: Final = Path("/proc/self/fd")


def raise_limit() -> int:
    """Raise the soft limit to the hard one, where the system lets it; returns the limit in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return limit()


def limit() -> int:
    """Give how many descriptors the process may have."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def used() -> int:
    """Give how many it has."""
    # Linux tells their number as the directory's size since 6.2; before, they have to be counted.
    return _DIRECTORY.stat().st_size or sum(1 for _ in _DIRECTORY.iterdir())


def left() -> int:
    """Give how many it may still open."""
    return limit() - used()
