"""Parser of a node's log files, independent of the node's own.

It follows the descriptions of the format in ``replication/log/format`` and not the code, so that a mistake in the code
that writes and reads the log cannot hide itself. Blocks of both versions are read. They are chained by the hash of the
previous header, which also tells live segments from recycled ones that still hold old blocks.
"""

import errno
import mmap
import os
import struct
import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Final, Self

from xxhash import xxh3_128_digest

PAGE_BYTES: Final = 4096
_BUFFER_BYTES: Final = 8 << 20
"""One read, and so the longest block: 10,000 records and 4 MiB of payloads fit."""
_BUFFERS: Final = 3
"""One is being filled, one waits, and one is held by the caller."""
_BEGINNING: Final = struct.Struct("<4sH18xQQIIQ")
"""Magic, version, index, first position, records, payload bytes, time: the same in all versions."""
_HASHES_1: Final = struct.Struct("<56x16s16s40x")
_HASHES_2: Final = struct.Struct("<192x32s32s")
_USES_2: Final = struct.Struct("<72xHHII")
"""Length of the header, hash algorithm, flags, bytes of boundaries."""
_CIPHER_2: Final = struct.Struct("<144xH")
_PLAIN_2: Final = (256, 1, 0, 0)


class LogUnreadable(Exception):
    """The log breaks its format; the message has the file, the offset and what was found."""


@dataclass(frozen=True, slots=True)
class LogBlock:
    """One block, empty where it only opens an epoch.

    ``records`` and ``payloads`` are views of a buffer of the reader's, valid until the next block is asked for.
    """

    index: int
    first_position: int
    count: int
    time_ns: int
    records: memoryview
    payloads: memoryview


@dataclass(frozen=True, slots=True)
class _Header:
    length: int
    index: int
    first_position: int
    count: int
    payload_bytes: int
    time_ns: int
    previous_hash: bytes
    """Of 32 bytes; a shorter one has zeros behind it."""
    body_hash: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class _LocatedBlock:
    """A block whose place in the chain is checked, and whose body is not yet."""

    block: LogBlock
    body: memoryview
    body_hash: bytes
    where: str


def read_blocks(directory: Path) -> Generator[LogBlock]:
    """Yield all blocks of a log, each checked: checksum, chain, body hash, index and positions.

    Ends where no further block continues the chain.

    Raises:
        LogUnreadable: the log does not start at block 1, or a block of the chain is damaged.
    """
    free: SimpleQueue[memoryview | None] = SimpleQueue()
    read: SimpleQueue[_LocatedBlock | memoryview | BaseException | None] = SimpleQueue()
    for _ in range(_BUFFERS):
        free.put(memoryview(mmap.mmap(-1, _BUFFER_BYTES)))  # begins on a page, as O_DIRECT asks

    def read_ahead() -> None:
        try:
            for item in _follow(directory, free):
                read.put(item)
            read.put(None)
        except BaseException as error:  # raised again where the blocks are asked for
            read.put(error)

    reader = Thread(target=read_ahead, name="log reader", daemon=True)
    reader.start()
    try:
        while (item := read.get()) is not None:
            if isinstance(item, memoryview):
                free.put(item)
            elif isinstance(item, BaseException):
                raise item
            elif _padded(xxh3_128_digest(item.body)) != item.body_hash:
                raise LogUnreadable(f"{item.where}: the body does not match its hash")
            else:
                yield item.block
    finally:
        free.put(None)
        reader.join()


def _follow(directory: Path, free: "SimpleQueue[memoryview | None]") -> Iterator[_LocatedBlock | memoryview]:
    """Yield the blocks of the chain, and each buffer, taken from ``free``, after the last block that lies in it.

    Ends early where ``free`` gives None.
    """
    starts = _segment_starts(directory)
    index, position, previous = 1, 0, bytes(32)
    while (path := starts.pop((index, previous), None)) is not None:
        with _Segment(path) as segment:
            offset, cut = PAGE_BYTES, memoryview(b"")
            while offset + len(cut) < segment.size:
                if (buffer := free.get()) is None:
                    return
                buffer[: len(cut)] = cut  # if `cut` lies in this very buffer, nobody has written to it since
                view = buffer[: len(cut) + segment.read(buffer[len(cut) :], offset + len(cut))]
                at = 0
                while (header := _parse(view, at)) and (header.index, header.previous_hash) == (index, previous):
                    where = f"{path} at byte {offset + at}, block {index}"
                    if header.first_position != position:
                        raise LogUnreadable(
                            f"{where}: starts at transaction {header.first_position}, expected {position}"
                        )
                    start = at + header.length
                    middle, end = start + header.count * 64, start + header.count * 64 + header.payload_bytes
                    if offset + end > segment.size:
                        raise LogUnreadable(f"{where}: overruns its segment by {offset + end - segment.size} bytes")
                    if end - at > len(buffer):
                        raise LogUnreadable(f"{where}: has {end - at} bytes, more than a block may have")
                    if end > len(view):
                        break
                    records, payloads = view[start:middle], view[middle:end]
                    block = LogBlock(index, position, header.count, header.time_ns, records, payloads)
                    yield _LocatedBlock(block, view[start:end], header.body_hash, where)
                    previous = header.hash
                    index, position = index + 1, position + header.count
                    at = end + -end % PAGE_BYTES
                else:
                    if at < len(view):  # the chain ends here, or goes on in another segment
                        yield buffer
                        break
                offset, cut = offset + at, view[at:]
                yield buffer


class _Segment:
    """A file that is read past the page cache where its file system can."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self._descriptor = os.open(path, os.O_RDONLY)
        self.size = os.fstat(self._descriptor).st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._descriptor)

    def read(self, room: memoryview, offset: int) -> int:
        """Fill ``room`` from ``offset`` on, as far as the file goes; returns the number of bytes."""
        wanted, done = min(len(room), self.size - offset), 0
        while done < wanted:
            got = os.preadv(self._descriptor, [room[done:]], offset + done)
            if got == 0:
                raise LogUnreadable(f"{self._path} became shorter while it was read, at byte {offset + done}")
            done += got
        return wanted


def _segment_starts(directory: Path) -> dict[tuple[int, bytes], Path]:
    """The segments by the index of their first block and the hash of the block before it."""
    starts = {}
    for path in directory.glob("*.segment"):
        with path.open("rb") as file:
            head = memoryview(file.read(2 * PAGE_BYTES))
        if bytes(head[:4]) == b"PSLG" and (header := _parse(head, PAGE_BYTES)) is not None:
            starts[header.index, header.previous_hash] = path
    if starts and (1, bytes(32)) not in starts:
        first = min(index for index, _ in starts)
        raise LogUnreadable(f"{directory} starts at block {first}; a check of results needs the log from block 1 on")
    return starts


def _parse(view: memoryview, offset: int) -> _Header | None:
    """The header at ``offset``, or None where there is none."""
    header = bytes(view[offset : offset + 256])
    if len(header) < 256 or header[:4] != b"PSBK":
        return None
    _, version, index, first_position, count, payload_bytes, time_ns = _BEGINNING.unpack_from(header)
    if version == 1:
        if zlib.crc32(header[:124]).to_bytes(4, "little") != header[124:128]:
            return None
        hashes, length, chained = _HASHES_1.unpack(header[:128]), 128, header[:128]
    else:
        if zlib.crc32(header[:148] + header[152:]).to_bytes(4, "little") != header[148:152]:
            return None
        if version != 2 or _USES_2.unpack_from(header) != _PLAIN_2 or _CIPHER_2.unpack_from(header) != (0,):
            raise LogUnreadable(f"block {index} is of format {version}, and not of one that is known here")
        hashes, length, chained = _HASHES_2.unpack(header), 256, header[:128] + header[192:]
    previous_hash, body_hash = (_padded(each) for each in hashes)
    return _Header(
        length,
        index,
        first_position,
        count,
        payload_bytes,
        time_ns,
        previous_hash,
        body_hash,
        _padded(xxh3_128_digest(chained)),
    )


def _padded(digest: bytes) -> bytes:
    return digest.ljust(32, b"\0")
