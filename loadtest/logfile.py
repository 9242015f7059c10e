"""Reads a node's log from its files, with a parser of its own.

The format is described in ``replication/block.py``; this follows the description and not the code, so that a mistake in
the code that writes and reads the log cannot hide itself. Blocks are chained by the hash of the previous header, which
also tells live segments from recycled ones that still hold old blocks.
"""

import mmap
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from xxhash import xxh3_128_digest

PAGE_BYTES: Final = 4096
_SEGMENTS_AHEAD: Final = 8
_HEADER: Final = struct.Struct("<4sHHQQQQIIQ16s16sQ28sI")


class LogUnreadable(Exception):
    """The log is not what its format says; the message has the file, the offset and what was found."""


@dataclass(frozen=True, slots=True)
class LogBlock:
    """One block, empty where it only opens an epoch.

    ``records`` and ``payloads`` are views of the mapped file, private, so writable without effect.
    """

    index: int
    first_position: int
    count: int
    time_ns: int
    records: memoryview
    payloads: memoryview


@dataclass(frozen=True, slots=True)
class _Header:
    magic: bytes
    version: int
    kind: int
    cluster_id: int
    epoch: int
    index: int
    first_position: int
    count: int
    payload_bytes: int
    time_ns: int
    previous_hash: bytes
    body_hash: bytes
    durable_index: int
    reserved: bytes
    crc: int


def read_blocks(directory: Path) -> Iterator[LogBlock]:
    """Yield all blocks of a log, each checked: checksum, chain, body hash, index and positions.

    Ends where no further block continues the chain. Raises :class:`LogUnreadable` where the log does not start at
    block 1 or a block of the chain is damaged.
    """
    starts = _segment_starts(directory)
    order = sorted(starts.values())
    index, position, previous = 1, 0, bytes(16)
    while (path := starts.get((index, previous))) is not None:
        # The writer bypasses the page cache, so all of this comes from the disk: ask for what follows in good time.
        for following in order[(place := order.index(path)) : place + _SEGMENTS_AHEAD]:
            _read_ahead(following)
        with path.open("rb") as file:
            segment = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        offset = PAGE_BYTES
        view = memoryview(segment)
        while offset + PAGE_BYTES <= len(view):
            header = _parse(view, offset)
            if header is None or (header.index, header.previous_hash) != (index, previous):
                break
            where = f"{path} at byte {offset}, block {index}"
            if header.first_position != position:
                raise LogUnreadable(f"{where}: starts at transaction {header.first_position}, expected {position}")
            start = offset + _HEADER.size
            middle, end = start + header.count * 64, start + header.count * 64 + header.payload_bytes
            if end > len(view):
                raise LogUnreadable(f"{where}: overruns its segment by {end - len(view)} bytes")
            if xxh3_128_digest(view[start:end]) != header.body_hash:
                raise LogUnreadable(f"{where}: the body does not match its hash")
            previous = xxh3_128_digest(view[offset:start])
            index, position = index + 1, position + header.count
            offset = end + -end % PAGE_BYTES
            records, payloads = view[start:middle], view[middle:end]
            yield LogBlock(header.index, header.first_position, header.count, header.time_ns, records, payloads)


def _read_ahead(path: Path) -> None:
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)


def _segment_starts(directory: Path) -> dict[tuple[int, bytes], Path]:
    """Find each segment by what its first block continues: the index and the hash of the block before."""
    starts = {}
    for path in directory.glob("*.segment"):
        with path.open("rb") as file:
            head = memoryview(file.read(2 * PAGE_BYTES))
        if bytes(head[:4]) == b"PSLG" and (header := _parse(head, PAGE_BYTES)) is not None:
            starts[header.index, header.previous_hash] = path
    if starts and (1, bytes(16)) not in starts:
        first = min(index for index, _ in starts)
        raise LogUnreadable(f"{directory} starts at block {first}; a check of results needs the log from block 1 on")
    return starts


def _parse(view: memoryview, offset: int) -> _Header | None:
    """The header at ``offset``, or None where there is none."""
    if offset + _HEADER.size > len(view):
        return None
    header = _Header(*_HEADER.unpack_from(view, offset))
    if header.magic != b"PSBK" or header.crc != zlib.crc32(view[offset : offset + _HEADER.size - 4]):
        return None
    return header
