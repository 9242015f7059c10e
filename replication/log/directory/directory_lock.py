"""Directory lock: the right to be the one process that has a log open.

The directory itself is locked with ``flock``, for as long as the log is open: whoever wants the log has to come by it,
and unlike a file in it, it cannot be removed under the log. The file ``lock`` names the holder. It is locked, too, for
file systems that lock files alone (NFS), and for versions that knew only it. The kernel releases both however the
process ends.

A directory that is moved away takes its lock along, while the log's paths lead to whatever stands in its place: so the
log asks (`DirectoryLock.check_place`) before a file of its gets a name.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from replication.log.errors import LogInUse, LogMoved, LogReadOnly

_CANNOT_WRITE: Final = (errno.EACCES, errno.EPERM, errno.EROFS)


_CANNOT_LOCK: Final = (errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)
"""What locking a directory fails with on file systems that lock files alone."""


class DirectoryLock:
    """The right to be the only process that has the log open. A context manager that releases it."""

    def __init__(self, directory: Path, fds: Sequence[int]) -> None:
        self._directory, self._fds = directory, fds

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
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            if error.errno in _CANNOT_WRITE:
                raise LogReadOnly(path, str(error.strerror)) from error
            raise
        lock = cls._lock(directory, file)
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        return lock

    @classmethod
    def _lock(cls, directory: Path, file: int) -> Self:
        """Lock the directory and the file, which is closed where that fails."""
        with contextlib.ExitStack() as opened:
            opened.callback(os.close, file)
            place = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            opened.callback(os.close, place)
            try:
                try:
                    fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError as error:
                    if error.errno not in _CANNOT_LOCK:
                        raise
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise LogInUse(directory, _named_in(directory)) from error
            lock = cls(directory, (place, file))
            lock.check_place()
            opened.pop_all()
            return lock

    def check_place(self) -> None:
        """Check that the directory still stands where the log's paths lead.

        Raises:
            LogMoved: it was moved or removed, and something else may stand there.
        """
        try:
            is_here = os.path.samestat(self._directory.stat(), os.fstat(self._fds[0]))
        except FileNotFoundError:
            is_here = False
        if not is_here:
            raise LogMoved(self._directory)

    def release(self) -> None:
        """Let other processes have the log."""
        for fd in self._fds:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def holder_of(directory: Path) -> str | None:
    """Return who has the log open, as far as it is known (else an empty text); ``None`` where nobody has.

    Nobody is kept out for longer than it takes to ask.

    Raises:
        OSError: the directory cannot be read.
    """
    for path in (directory / "lock", directory):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # the file alone may be missing
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _named_in(directory)
        except OSError as error:
            if error.errno not in _CANNOT_LOCK:
                raise
        finally:
            os.close(fd)
    return None


def _named_in(directory: Path) -> str:
    try:
        return (directory / "lock").read_text().strip()
    except OSError:
        return ""
