"""The claim on a Unix socket's path, which gRPC takes from whoever listens there, without a word.

gRPC unlinks the socket that it finds before it binds its own; the server of the other has no clients from then on and
does not know. So a node locks a file beside the socket first, and tries whether somebody answers who has no such lock.
A socket that a dead node has left is neither locked nor answered at, and is taken over.
"""

import contextlib
import errno
import fcntl
import os
import socket
from pathlib import Path

_MODE = 0o600


class SocketInUse(Exception):
    """Somebody listens at the path."""


class SocketClaim:
    """The right to listen at a path, in whatever way it is written, until `release`."""

    def __init__(self, path: str) -> None:
        """Claim ``path``.

        Raises:
            SocketInUse: a node has claimed it, or a server answers there.
            OSError: the lock beside it cannot be made.
        """
        self._path = Path(path).resolve()
        self._lock_path = self._path.with_name(f"{self._path.name}.lock")
        self._bound: tuple[int, int] | None = None
        self._lock: int | None = self._take_lock()
        if _answers(self._path):
            self.release()
            raise SocketInUse(path)

    def note_bound(self) -> None:
        """Remember the socket that stands at the path now as one's own."""
        self._bound = self._standing()

    @property
    def lost(self) -> bool:
        """Whether something else, or nothing, stands at the path of one's own socket."""
        return self._bound is not None and self._standing() != self._bound

    def release(self) -> None:
        """Give the path up; doing so again changes nothing."""
        self._bound = None
        if self._lock is not None:
            lock, self._lock = self._lock, None
            self._lock_path.unlink(missing_ok=True)  # while locked: whoever opened it looks whether it still stands
            os.close(lock)

    def _take_lock(self) -> int:
        while True:
            lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(lock), self._lock_path.stat()):
                        return lock
            except BlockingIOError:
                os.close(lock)
                raise SocketInUse(str(self._path)) from None
            os.close(lock)  # it was removed by who had it until now

    def _standing(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except OSError as error:
            return error.errno not in (errno.ECONNREFUSED, errno.ENOENT, errno.ENOTDIR)
        return True
