"""Cut intention: the file ``cut``, which says behind which block a log is being cut, until it is done.

It is written, durably and whole, before anything of the tail goes, and removed after everything has. Whoever opens the
log in between finishes the cut (`replication.log.recovery.truncation`): so a tail whose blocks claim to have been
durable is there whole or not at all, and what is left of it in between is never judged.
"""

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from pooling.buffers import aligned_buffer
from replication.log.block import PAGE_BYTES
from replication.log.disk import Disk
from replication.log.errors import LogCorrupted

_RECORD: Final = struct.Struct("<4sIQQ32s")
_CRC: Final = struct.Struct("<I")
_MAGIC: Final = b"PSCI"
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a log is to end."""

    index: int
    """Index of the last block that stays; 0 where none does."""
    hash: bytes
    """That block's hash; zero where none stays. A log that has another block there was not the one that was meant."""


def record_cut(directory: Path, cluster_id: int, cut: Cut, disk: Disk) -> None:
    """Write the intention, durably.

    Raises:
        OSError: the disk failed, or there is no room; the file is not there.
    """
    page = aligned_buffer(PAGE_BYTES)
    content = _RECORD.pack(_MAGIC, _VERSION, cluster_id, cut.index, cut.hash)
    content += _CRC.pack(zlib.crc32(content))
    page[: len(content)] = np.frombuffer(content, np.uint8)
    path = _path(directory)
    unfinished = path.with_suffix(".new")
    fd = disk.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        disk.write(fd, [page], 0)
        disk.sync(fd)
    finally:
        disk.close(fd)
    disk.rename(unfinished, path)


def forget_cut(directory: Path, disk: Disk) -> None:
    """Remove the intention, durably, since the cut is done.

    Raises:
        OSError: the disk failed.
    """
    disk.remove(_path(directory))


def read_cut(directory: Path, cluster_id: int) -> Cut | None:
    """Return the intention; ``None`` where no cut is under way.

    Raises:
        LogCorrupted: it is damaged.
        OSError: the file cannot be read.
    """
    path = _path(directory)
    try:
        content = path.read_bytes()[: _RECORD.size + _CRC.size]
    except FileNotFoundError:
        return None
    is_whole = (
        len(content) == _RECORD.size + _CRC.size
        and zlib.crc32(content[: _RECORD.size]) == _CRC.unpack_from(content, _RECORD.size)[0]
    )
    magic, version, found_id, index, hash_ = _RECORD.unpack_from(content) if is_whole else (b"", 0, 0, 0, b"")
    if (magic, version, found_id) != (_MAGIC, _VERSION, cluster_id):
        raise LogCorrupted(path, 0, None, "the record of where the log was being cut cannot be read")
    return Cut(index, hash_)


def _path(directory: Path) -> Path:
    return directory / "cut"
