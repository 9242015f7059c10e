"""Growth probe: all that preparing a segment asks of a file system, done once with a small file when a log is opened.

Else a node would find out at its first transactions, and be gone, at every start.
"""

import contextlib
import errno
import logging
import os
from pathlib import Path
from typing import Final

from pooling.buffers import aligned_buffer
from replication.log.block import PAGE_BYTES
from replication.log.disk import Disk
from replication.log.errors import LogCannotGrow
from replication.log.segments.segment import SEGMENT_BYTES_MIN
from replication.log.shortage import shortage_of

_log = logging.getLogger(__name__)

_NAMES: Final = ("probe.new", "probed.new")


def probe_growth(directory: Path, segment_bytes: int, disk: Disk) -> None:
    """Make a file as long as a segment, of which little is written, rename it, and remove it.

    A shortage is logged and no failure: it passes, and the log may have segments that were prepared before.

    Raises:
        LogCannotGrow: the file system refuses something.
    """
    source, target = (directory / name for name in _NAMES)
    try:
        _prepare(source, target, segment_bytes, disk)
    except OSError as error:
        with contextlib.suppress(OSError):
            source.unlink(missing_ok=True)
        shortage = shortage_of(error, directory, segment_bytes)
        if shortage is None or error.errno == errno.EFBIG:
            raise LogCannotGrow(directory, segment_bytes, error.strerror or str(error)) from error
        _log.warning("the log cannot grow for now: %s", shortage)


def _prepare(source: Path, target: Path, segment_bytes: int, disk: Disk) -> None:
    page = aligned_buffer(PAGE_BYTES)
    fd = disk.open(source, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        disk.allocate(fd, SEGMENT_BYTES_MIN)
        for offset in (0, segment_bytes - PAGE_BYTES):
            disk.write(fd, [page], offset)
        disk.sync(fd)
    finally:
        disk.close(fd)
    disk.rename(source, target)
    disk.remove(target)
