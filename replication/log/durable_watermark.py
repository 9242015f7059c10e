"""The durable mark: a page beside the segments that says up to which block the log is known to have been synced.

Blocks say it too (``durable_index``), but each only of those before it: of the newest block of a log that went idle
nothing else tells whether it was torn by a crash, and is to be cut, or acknowledged and damaged later, and must not be.
The mark is written after the sync it tells of, about once a second and when the log is closed. It is a hint that may be
old, torn or missing, and is never wrong.
"""

import os
import struct
import zlib
from pathlib import Path
from typing import Final

import numpy as np

from pooling.buffers import aligned_buffer
from replication.log.block import PAGE_BYTES
from replication.log.disk import Disk

_MARK: Final = struct.Struct("<4sIQQ")
_CRC: Final = struct.Struct("<I")
_MAGIC: Final = b"PSDM"
_VERSION: Final = 1


class DurableWatermark:
    """The mark of one log, open for writing."""

    def __init__(self, directory: Path, cluster_id: int, disk: Disk) -> None:
        self._disk, self._cluster_id = disk, cluster_id
        self._page = aligned_buffer(PAGE_BYTES)
        path = _path(directory)
        fresh = not path.exists()
        self._fd = disk.open(path, os.O_RDWR | os.O_CREAT)
        if fresh:
            # Its room is taken now: a disk that fills up later does not keep the mark from moving.
            disk.write(self._fd, [self._page], 0)
            disk.sync(self._fd)

    def write(self, index: int) -> None:
        """Put the mark at ``index``, which has been synced. Raises ``OSError``."""
        mark = _MARK.pack(_MAGIC, _VERSION, self._cluster_id, index)
        mark += _CRC.pack(zlib.crc32(mark))
        self._page[: len(mark)] = np.frombuffer(mark, np.uint8)
        self._disk.write(self._fd, [self._page], 0)

    def lower(self, index: int) -> None:
        """Put the watermark at ``index``, durably, since what it tells of is about to go. Raises ``OSError``."""
        self.write(index)
        self._disk.sync(self._fd)

    def close(self) -> None:
        """Close the file."""
        self._disk.close(self._fd)


def read_durable_watermark(directory: Path, cluster_id: int) -> int:
    """Return the index the mark stands at; 0 where it is missing, torn or another cluster's."""
    try:
        page = _path(directory).read_bytes()[: _MARK.size + _CRC.size]
    except FileNotFoundError:
        return 0
    if len(page) < _MARK.size + _CRC.size or zlib.crc32(page[: _MARK.size]) != _CRC.unpack_from(page, _MARK.size)[0]:
        return 0
    magic, version, owner, index = _MARK.unpack_from(page)
    return int(index) if (magic, version, owner) == (_MAGIC, _VERSION, cluster_id) else 0


def _path(directory: Path) -> Path:
    return directory / "durable"
