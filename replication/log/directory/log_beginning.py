"""Log beginning: the file ``beginning``, which says with which segment and block a log begins.

Segments before it were recycled. Without it a log whose first segments were lost would look like one that gave them up.
It is moved forward, durably, before a segment is given up, so it never names a segment that is not there, and files
before it are what a crash left of a recycling. A file without a record, or none at all, means the first segment and
block.

Two pages are written in turn, the older one each time: of a torn write the other page is left, which names an earlier
segment, and none of those has gone. The file is made with the log, so that moving it takes no room of a full disk.
"""

import os
import struct
import zlib
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from pooling.buffers import aligned_buffer
from replication.log.block import PAGE_BYTES
from replication.log.disk import Disk

_RECORD: Final = struct.Struct("<4sIQQQ")
_CRC: Final = struct.Struct("<I")
_MAGIC: Final = b"PSLB"
_VERSION: Final = 1
_PAGES: Final = 2


class LogBeginning(NamedTuple):
    """Where a log begins."""

    segment_number: int
    """Number of its first segment."""
    first_index: int
    """Index of the first block of that segment."""


FIRST: Final = LogBeginning(1, 1)
"""Where a log begins that gave up nothing."""


class BeginningRecord:
    """The record of one log, open for writing."""

    def __init__(self, directory: Path, cluster_id: int, disk: Disk) -> None:
        """Open the record, or make one that says nothing yet.

        Raises:
            OSError: the disk failed, or there is no room.
        """
        self._disk, self._cluster_id = disk, cluster_id
        self._page = aligned_buffer(PAGE_BYTES)
        path = _path(directory)
        if not path.exists():
            _make(path, disk)
        found = [beginning or FIRST for beginning in _read_pages(directory, cluster_id)]
        self.beginning = max(found)
        self._next_page = found.index(min(found))
        self._fd = disk.open(path, os.O_RDWR)

    def move_to(self, beginning: LogBeginning) -> None:
        """Let the log begin here, durably; what stands before may be removed on return.

        Raises:
            OSError: the disk failed; the log begins where it did, and it may be tried again.
        """
        assert beginning >= self.beginning, "a log's beginning only moves forward"
        if beginning == self.beginning:
            return
        content = _RECORD.pack(_MAGIC, _VERSION, self._cluster_id, beginning.segment_number, beginning.first_index)
        content += _CRC.pack(zlib.crc32(content))
        self._page[: len(content)] = np.frombuffer(content, np.uint8)
        self._disk.write(self._fd, [self._page], self._next_page * PAGE_BYTES)
        self._disk.sync(self._fd)
        self.beginning = beginning
        self._next_page = (self._next_page + 1) % _PAGES

    def close(self) -> None:
        """Close the file."""
        self._disk.close(self._fd)


def read_beginning(directory: Path, cluster_id: int) -> LogBeginning:
    """Return where a log begins; changes nothing.

    Raises:
        OSError: the file cannot be read.
    """
    return max(beginning or FIRST for beginning in _read_pages(directory, cluster_id))


def _read_pages(directory: Path, cluster_id: int) -> list[LogBeginning | None]:
    try:
        content = _path(directory).read_bytes()
    except FileNotFoundError:
        content = b""
    return [_parse(content[page * PAGE_BYTES : (page + 1) * PAGE_BYTES], cluster_id) for page in range(_PAGES)]


def _parse(page: bytes, cluster_id: int) -> LogBeginning | None:
    if len(page) < PAGE_BYTES or zlib.crc32(page[: _RECORD.size]) != _CRC.unpack_from(page, _RECORD.size)[0]:
        return None
    magic, version, found_id, number, index = _RECORD.unpack_from(page)
    return LogBeginning(number, index) if (magic, version, found_id) == (_MAGIC, _VERSION, cluster_id) else None


def _make(path: Path, disk: Disk) -> None:
    """Write a file without a record, durably, and under its name only when it is whole."""
    unfinished = path.with_suffix(".new")
    fd = disk.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        disk.write(fd, [aligned_buffer(_PAGES * PAGE_BYTES)], 0)
        disk.sync(fd)
    finally:
        disk.close(fd)
    disk.rename(unfinished, path)


def _path(directory: Path) -> Path:
    return directory / "beginning"
