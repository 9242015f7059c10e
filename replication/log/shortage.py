"""Shortages: what tells a system that is short of something for the moment from a disk that has failed.

Each place where the log asks the system for something is of one of two kinds:

* **Ahead of the blocks**: preparing a segment, copying one that is to be cut, mapping one to read it, opening the log.
  Nothing that was promised depends on it, so it can be tried again. A shortage passes; anything else is a failure.
* **Under the blocks**: writing and syncing them, and removing some. A failure is final whatever its number, since what
  the disk holds is unknown from there on. So nothing is opened there: a segment enters the log with its descriptor.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from replication.log.errors import LogBusy, LogFailed, LogFull

NO_SPACE_ERRNOS: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a call fails with for want of room: nothing is broken, and it may succeed later."""
NO_DESCRIPTOR_ERRNOS: Final = (errno.EMFILE, errno.ENFILE)
"""What a call fails with where this process, or the whole system, has no descriptor left."""
_PASSING_ERRNOS: Final = (*NO_DESCRIPTOR_ERRNOS, errno.ENOMEM, errno.EAGAIN, errno.EINTR, errno.ENOBUFS)


def shortage_of(error: Exception, directory: Path, needed_bytes: int) -> LogFull | LogBusy | None:
    """Return what the log says of an error ahead of the blocks, if it is a shortage that may pass.

    Beside the system's errors these are a lack of memory, and ``RuntimeError``: the system has no thread to give.
    """
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
        if error.errno in NO_SPACE_ERRNOS:
            return LogFull(directory, needed_bytes, reason)
        return LogBusy(directory, reason) if error.errno in _PASSING_ERRNOS else None
    if isinstance(error, MemoryError):
        return LogBusy(directory, "out of memory")
    return LogBusy(directory, str(error)) if isinstance(error, RuntimeError) else None


def refusal_of(error: Exception, directory: Path, needed_bytes: int) -> LogFull | LogBusy | LogFailed:
    """Return what the log says of an error ahead of the blocks."""
    if isinstance(error, LogFailed):
        return error
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return shortage_of(error, directory, needed_bytes) or LogFailed(directory, reason)


@contextmanager
def shortages_told(directory: Path, needed_bytes: int) -> Iterator[None]:
    """Raise what the log says of a shortage in place of the system's error; others pass through.

    Raises:
        LogFull: there is no room for ``needed_bytes``.
        LogBusy: the system is short of something else.
    """
    try:
        yield
    except (OSError, MemoryError) as error:
        shortage = shortage_of(error, directory, needed_bytes)
        if shortage is None:
            raise
        raise shortage from error
