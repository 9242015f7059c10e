"""Directory lock: the file ``lock``, by which one process at a time has a log open.

It is held with ``flock`` for as long as the log is open, and names the holder. The kernel releases it however the
process ends.
"""

import errno
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from replication.log.errors import LogInUse, LogReadOnly

_CANNOT_WRITE: Final = (errno.EACCES, errno.EPERM, errno.EROFS)


class DirectoryLock:
    """The right to be the only process that has the log open. A context manager that releases it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @classmethod
    def acquire(cls, directory: Path) -> Self:
        """Create the directory where it is missing and take its lock, to read and write the log.

        Raises:
            LogInUse: another process has the log open.
            LogReadOnly: the directory cannot be written.
            OSError: it cannot be made for another reason.
        """
        path = directory / "lock"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            if error.errno in _CANNOT_WRITE:
                raise LogReadOnly(path, str(error.strerror)) from error
            raise
        lock = cls._lock(directory, fd, fcntl.LOCK_EX)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        return lock

    @classmethod
    def acquire_shared(cls, directory: Path) -> Self:
        """Keep writers out while reading a log that nobody has open.

        Raises:
            LogInUse: another process has the log open to write it.
            OSError: there is no lock, or it cannot be read.
        """
        return cls._lock(directory, os.open(directory / "lock", os.O_RDONLY | os.O_CLOEXEC), fcntl.LOCK_SH)

    @classmethod
    def _lock(cls, directory: Path, fd: int, operation: int) -> Self:
        try:
            fcntl.flock(fd, operation | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(fd, 32, 0).decode().strip()
            os.close(fd)
            raise LogInUse(directory, owner) from error
        return cls(fd)

    def release(self) -> None:
        """Let other processes have the log."""
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
