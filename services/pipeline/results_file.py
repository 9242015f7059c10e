"""The result of every transaction in the log, one byte each, for those who watch the log from any index.

Results follow from the log, so this file is a convenience: it is never synced, a start writes it anew while it replays
the log, and where it cannot be written only watching ends, not the node.
"""

import logging
import os
from pathlib import Path
from typing import Final

_MODE: Final = 0o640
_NONE: Final = 0
"""What no transaction has as its result: a hole in the file."""
_log = logging.getLogger(__name__)


class ResultsUnavailable(Exception):
    """The results could not be kept, for want of disk space."""


class ResultsFile:
    """A file whose byte ``position`` is the result of that transaction."""

    def __init__(self, path: Path) -> None:
        """Keep results at ``path``, which is started over by the first `write` and not before.

        A block is only ever written by whoever holds the log's lock: a second node that is refused the log leaves the
        first one's results alone.
        """
        self._path = path
        self._file: int | None = None
        self._failed = False

    def write(self, first_position: int, results: bytes) -> None:
        """Keep the results of a block whose first transaction is number ``first_position``."""
        if self._failed:
            return
        try:
            if self._file is None:
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _MODE)
            written = os.pwrite(self._file, results, first_position)
        except OSError as error:
            written = 0
            _log.warning("results cannot be kept in %s (%s): watching ends until a restart", self._path, error.strerror)
        self._failed = written != len(results)

    def read(self, first_position: int, count: int) -> bytes:
        """Read the results of ``count`` transactions that have been applied.

        Raises:
            ResultsUnavailable: they were lost to a full disk; a restart with free space brings them back.
        """
        results = b"" if self._failed or self._file is None else os.pread(self._file, count, first_position)
        if len(results) != count or _NONE in results:
            raise ResultsUnavailable(
                f"results of transactions were lost because {self._path} could not be written: "
                "free disk space and restart the node, which computes them again"
            )
        return results

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)
