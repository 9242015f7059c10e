"""The release that is running: the name of the server's distribution, for all code, and its version."""

from importlib.metadata import version
from typing import Final

DISTRIBUTION: Final = "penstock-server"


def running_version() -> str:
    """The version that is installed, as in ``1.4.0``."""
    return version(DISTRIBUTION)
