"""Durable watermark: a page beside the segments that says up to which block the log is known to have been synced.

Blocks say it too (``durable_index``), but each only of those before it: of the newest block of a log that went idle
nothing else tells whether it was torn by a crash, and is to be cut, or acknowledged and damaged later, and must not be.
The watermark is raised after the sync that it tells of, about once a second and when the log is closed. It is lowered
before blocks are taken off the end of the log. So it is a lower bound: it may be old, torn or missing, and never
claims too much.
"""

import logging
import os
import struct
import zlib
from pathlib import Path
from typing import Final

import numpy as np

from pooling.buffers import aligned_buffer
from replication.log.block import PAGE_BYTES
from replication.log.disk import Disk

_WATERMARK: Final = struct.Struct("<4sIQQ")
_CRC: Final = struct.Struct("<I")
_MAGIC: Final = b"PSDM"
_VERSION: Final = 1
_log = logging.getLogger(__name__)


class DurableWatermark:
    """The watermark of one log, open for writing."""

    def __init__(self, directory: Path, cluster_id: int, disk: Disk) -> None:
        self._directory, self._disk, self._cluster_id = directory, disk, cluster_id
        self._index = 0
        self._is_failing = False
        self._page = aligned_buffer(PAGE_BYTES)
        path = _path(directory)
        fresh = not path.exists()
        self._fd = disk.open(path, os.O_RDWR | os.O_CREAT)
        if fresh:
            # Its room is taken now: a disk that fills up later does not keep the watermark from rising.
            disk.write(self._fd, [self._page], 0)
            disk.sync(self._fd)

    def follow(self, durable_index: int) -> None:
        """Raise the watermark to ``durable_index``, which has been synced; a power cut may undo it.

        It is a lower bound, and the log is as durable without it: where the disk fails or is full it stays where it is,
        a warning is logged once, and the next call tries again.
        """
        if durable_index <= self._index:
            return
        try:
            self._write(durable_index)
        except OSError as error:
            if not self._is_failing:
                _log.warning("the durable watermark of %s could not be raised (%s)", self._directory, error.strerror)
            self._is_failing = True
            return
        if self._is_failing:
            _log.warning("the durable watermark of %s is raised again", self._directory)
        self._index, self._is_failing = durable_index, False

    def lower_to(self, index: int) -> None:
        """Put the watermark at ``index``, durably, since blocks behind it are about to go.

        Raises:
            OSError: the disk failed, or there is no room.
        """
        self._index = index
        self._write(index)
        self._disk.sync(self._fd)

    def close(self) -> None:
        """Close the file."""
        self._disk.close(self._fd)

    def _write(self, index: int) -> None:
        content = _WATERMARK.pack(_MAGIC, _VERSION, self._cluster_id, index)
        content += _CRC.pack(zlib.crc32(content))
        self._page[: len(content)] = np.frombuffer(content, np.uint8)
        self._disk.write(self._fd, [self._page], 0)


def read_durable_watermark(directory: Path, cluster_id: int) -> int:
    """Return the index the watermark stands at; 0 where it is missing, torn or another cluster's.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        page = _path(directory).read_bytes()[: _WATERMARK.size + _CRC.size]
    except FileNotFoundError:
        return 0
    if (
        len(page) < _WATERMARK.size + _CRC.size
        or zlib.crc32(page[: _WATERMARK.size]) != _CRC.unpack_from(page, _WATERMARK.size)[0]
    ):
        return 0
    magic, version, found_id, index = _WATERMARK.unpack_from(page)
    return int(index) if (magic, version, found_id) == (_MAGIC, _VERSION, cluster_id) else 0


def _path(directory: Path) -> Path:
    return directory / "durable"
