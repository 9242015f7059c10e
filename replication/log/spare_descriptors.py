"""Spare descriptors: some that the log keeps for itself, for when all others are taken.

A process that has as many connections as its limit allows cannot open a file any more, and a log has to, for each
segment. The spares stand on ``/dev/null``. One is given up right before another try; somebody else may be faster, so
there are several. What is closed takes the place of a missing spare at once, without being anybody's in between.
"""

import os

from replication.log.shortage import NO_DESCRIPTOR_ERRNOS


class SpareDescriptors:
    """Some descriptors, none until `fill`. Safe to use from any thread."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._spares: list[int] = []
        self._null = -1

    def fill(self) -> None:
        """Take as many as are missing, or as there are, but one at least.

        Raises:
            OSError: ``/dev/null`` cannot be opened.
        """
        if self._null < 0:
            self._null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        while len(self._spares) < self._count:
            try:
                self._spares.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
            except OSError as error:
                if error.errno not in NO_DESCRIPTOR_ERRNOS:
                    raise
                return

    def empty(self) -> None:
        """Let all of them go."""
        while self._spares:
            os.close(self._spares.pop())
        if self._null >= 0:
            os.close(self._null)
            self._null = -1

    def open(self, path: os.PathLike[str], flags: int, mode: int = 0) -> int:
        """Open a file, at the cost of spares where there is no other descriptor.

        Raises:
            OSError: as `os.open`.
        """
        while True:
            try:
                return os.open(path, flags, mode)
            except OSError as error:
                if error.errno not in NO_DESCRIPTOR_ERRNOS:
                    raise
                try:
                    spare = self._spares.pop()
                except IndexError:
                    raise error from None
                os.close(spare)

    def close(self, fd: int) -> None:
        """Close a descriptor; it becomes a spare where one is missing."""
        if self._null >= 0 and len(self._spares) < self._count:
            os.dup2(self._null, fd, inheritable=False)
            self._spares.append(fd)
        else:
            os.close(fd)
