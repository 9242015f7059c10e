"""Disk: all that the log asks of the operating system's files, so that tests can put one that loses writes beneath it.

Writing goes past the page cache (``O_DIRECT``): per 64 bytes of log it costs a fifth of what a buffered write or a
mapping with ``msync`` does, has the lowest latency, and does not push hot pages out. It wants pages: offsets, lengths
and memory addresses are multiples of 4 KiB. File systems that refuse it get ordinary writes.

File systems differ in whether room can be claimed without writing it, too. ext2, ext3, NFS and most of FUSE cannot;
the C library then writes a byte into each page, which direct I/O refuses. There the free space is looked at, and is
claimed by the zeros that the log writes into each file before it uses it.
"""

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from replication.log.spare_descriptors import SpareDescriptors

Buffer = NDArray[np.uint8]

_CANNOT_ALLOCATE: Final = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_SPARES: Final = 4
_BUFFERS_PER_CALL_MAX: Final = 1024
"""Linux's limit, ``IOV_MAX``."""


class Disk:
    """Files by descriptor. All methods raise ``OSError``; blocking calls release the interpreter's lock."""

    def __init__(self) -> None:
        self._spares = SpareDescriptors(_SPARES)

    def hold_spares(self) -> None:
        """Keep some descriptors back, for when all others are taken."""
        self._spares.fill()

    def release_spares(self) -> None:
        """Keep none back any more."""
        self._spares.empty()

    def open(self, path: Path, flags: int) -> int:
        """Open ``path`` past the page cache where its file system can; ``flags`` as for :func:`os.open`."""
        try:
            return self._spares.open(path, flags | os.O_CLOEXEC | os.O_DIRECT, 0o640)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        return self._spares.open(path, flags | os.O_CLOEXEC, 0o640)

    def close(self, fd: int) -> None:
        """Close a descriptor."""
        self._spares.close(fd)

    def allocate(self, fd: int, byte_count: int) -> None:
        """Claim room for the file's first ``byte_count`` bytes, so that a full disk shows now and not at a write.

        Where a file system cannot claim any, the free space is compared; the caller writes all of it next.
        """
        try:
            os.posix_fallocate(fd, 0, byte_count)
        except OSError as error:
            if error.errno not in _CANNOT_ALLOCATE:
                raise
            free = os.fstatvfs(fd)
            if free.f_bavail * free.f_frsize < byte_count:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error

    def write(self, fd: int, buffers: Sequence[Buffer], offset: int) -> None:
        """Write whole, page-aligned buffers one behind the other from ``offset`` on."""
        for start in range(0, len(buffers), _BUFFERS_PER_CALL_MAX):
            offset = self._write_run(fd, list(buffers[start : start + _BUFFERS_PER_CALL_MAX]), offset)

    def _write_run(self, fd: int, buffers: list[Buffer], offset: int) -> int:
        end = offset + sum(buffer.size for buffer in buffers)
        while offset < end:
            written = os.pwritev(fd, [buffer.data for buffer in buffers], offset)
            if written == 0:
                raise OSError(errno.EIO, "the disk took no bytes")
            offset += written
            while buffers and written >= buffers[0].size:
                written -= buffers.pop(0).size
            if written:
                buffers[0] = buffers[0][written:]
        return end

    def read(self, fd: int, buffer: Buffer, offset: int) -> int:
        """Fill a page-aligned ``buffer`` from ``offset`` on; returns the bytes read, fewer only at the file's end."""
        filled = 0
        while filled < buffer.size:
            count = os.preadv(fd, [buffer[filled:].data], offset + filled)
            if count == 0:
                break
            filled += count
        return filled

    def sync(self, fd: int) -> None:
        """Make what was written durable."""
        os.fdatasync(fd)

    def rename(self, source: Path, target: Path) -> None:
        """Rename a file within its directory, over ``target`` if that exists; atomic, and durable on return."""
        source.rename(target)
        self._sync_directory(target.parent)

    def remove(self, path: Path) -> None:
        """Remove a file; durable on return. Who has it mapped keeps its bytes."""
        path.unlink()
        self._sync_directory(path.parent)

    def _sync_directory(self, path: Path) -> None:
        fd = self._spares.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            self._spares.close(fd)
