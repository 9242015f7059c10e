"""Whose log a directory holds, and who has it open.

``lock`` is held with ``flock`` for as long as the log is open and names the holder; the kernel lets go of it however
the process ends. ``cluster`` names the cluster, and the format of the directory as a whole.
"""

import errno
import fcntl
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from replication.log.disk import Disk
from replication.log.errors import (
    LogCorrupted,
    LogForeign,
    LogInUse,
    LogParametersDiffer,
    LogReadOnly,
    LogVersionUnsupported,
)

DIRECTORY_VERSION: Final = 1
_CANNOT_WRITE: Final = (errno.EACCES, errno.EPERM, errno.EROFS)


class DirectoryLock:
    """The right to be the only process that has the log open."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @classmethod
    def hold(cls, directory: Path) -> Self:
        """Create the directory where it is missing and take its lock.

        Raises :class:`LogInUse` and :class:`LogReadOnly`.
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
    def share(cls, directory: Path) -> Self:
        """Keep writers out while reading a log that nobody has open. Raises :class:`LogInUse`."""
        return cls._lock(directory, os.open(directory / "lock", os.O_RDONLY | os.O_CLOEXEC), fcntl.LOCK_SH)

    @classmethod
    def _lock(cls, directory: Path, fd: int, kind: int) -> Self:
        try:
            fcntl.flock(fd, kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(fd, 32, 0).decode().strip()
            os.close(fd)
            raise LogInUse(directory, owner) from error
        return cls(fd)

    def release(self) -> None:
        """Let others have the log."""
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class Identity(NamedTuple):
    """What the ``cluster`` file says."""

    cluster_id: int
    parameters: dict[str, int]
    """Numbers on which the meaning of the log depends: with others, replaying it would come to another state."""


def read_identity(directory: Path) -> Identity | None:
    """Return whose log this is, ``None`` for a directory without one.

    Raises :class:`LogVersionUnsupported` and :class:`LogCorrupted`.
    """
    path = directory / "cluster"
    try:
        content = json.loads(path.read_text())
        version = int(content["format"])
        if version > DIRECTORY_VERSION:
            raise LogVersionUnsupported(path, version, DIRECTORY_VERSION)
        parameters = {str(name): int(value) for name, value in content.get("parameters", {}).items()}
        return Identity(int(content["cluster_id"], 16), parameters)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LogCorrupted(path, 0, 1, f"the log's identity cannot be read ({error!r})") from error


def adopt_identity(
    directory: Path, wanted: int | None, parameters: Mapping[str, int], disk: Disk, *, empty: bool
) -> int:
    """Return the directory's cluster, giving an ``empty`` one the ``wanted`` or (``None``) a new random id.

    Raises :class:`LogForeign` where it has another than the wanted, :class:`LogParametersDiffer` where it was made with
    other ``parameters``, and :class:`LogCorrupted` where it has segments and no identity.
    """
    found = read_identity(directory)
    if found is not None:
        if wanted not in (None, found.cluster_id):
            raise LogForeign(directory, found.cluster_id, wanted)
        if any(found.parameters.get(name) != value for name, value in parameters.items()):
            raise LogParametersDiffer(directory, found.parameters, parameters)
        return found.cluster_id
    path = directory / "cluster"
    if not empty:
        raise LogCorrupted(path, 0, 1, "there are segments, but the file that says whose they are is missing")
    cluster_id = wanted if wanted is not None else secrets.randbits(64)
    fresh = path.with_suffix(".new")
    with fresh.open("w") as file:
        content = {"format": DIRECTORY_VERSION, "cluster_id": f"{cluster_id:016x}", "parameters": dict(parameters)}
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    disk.rename(fresh, path)
    return cluster_id
