"""Segments: the files of the log, of one size each, named ``0000000001.segment`` and on by a number without gaps.

The first 4 KiB page is a header; blocks follow from byte 4096, each starting on a page, so a torn write of one never
touches another. Whatever stands behind the last block is no block: zeros in a new file, older blocks in a recycled one
(their indices are below the segment's first, which tells them apart). The header is written together with the
segment's first block; an all-zero header is a segment prepared and not yet used.

======  ====  ==================  ===================================
offset  size  field               meaning
======  ====  ==================  ===================================
     0     4  magic               ``PSLG``
     4     2  version             of this format, 1
     6     2  reserved            zero
     8     8  cluster_id          whose log it belongs to
    16     8  number              as in the file's name, from 1
    24     8  first_index         index of its first block
    32     8  first_position      number of its first transaction
    40     8  segment_bytes       size of the file
    48    12  reserved            zero
    60     4  header_crc          CRC-32 of bytes 0 to 59
======  ====  ==================  ===================================
"""

import struct
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from replication.log.block import PAGE_BYTES
from replication.log.errors import LogVersionUnsupported, SegmentInvalid

SEGMENT_MAGIC: Final = int.from_bytes(b"PSLG", "little")
SEGMENT_VERSION: Final = 1
SEGMENT_BYTES_DEFAULT: Final = 64 << 20
SEGMENT_BYTES_MIN: Final = 64 << 10

_SUFFIX: Final = ".segment"
_RECYCLED_SUFFIX: Final = ".recycled"
_HEADER: Final = struct.Struct("<IHxxQQQQQ12x")
_CRC: Final = struct.Struct("<I")
_HEADER_BYTES: Final = _HEADER.size + _CRC.size
assert _HEADER_BYTES == 64

_BLOCKS_PER_OFFSET: Final = 64


@dataclass(slots=True)
class Segment:
    """A segment that holds, or is about to hold, blocks."""

    path: Path
    cluster_id: int
    number: int
    first_index: int
    first_position: int
    segment_bytes: int
    _offsets: dict[int, int] = field(default_factory=dict)
    """Offset of every 64th block, as far as they have been passed by."""

    def header_page(self) -> bytes:
        """Return the header as it is written, one page."""
        header = _HEADER.pack(
            SEGMENT_MAGIC,
            SEGMENT_VERSION,
            self.cluster_id,
            self.number,
            self.first_index,
            self.first_position,
            self.segment_bytes,
        )
        return (header + _CRC.pack(zlib.crc32(header))).ljust(PAGE_BYTES, b"\0")

    @classmethod
    def parse(cls, path: Path, page: NDArray[np.uint8]) -> Self | None:
        """Read a header page (``uint8[4096]``); ``None`` where the segment is prepared and not yet used.

        Raises:
            SegmentInvalid: the page holds something else, or a header of another file.
            LogVersionUnsupported: the header is whole, and of another version.
        """
        if page.size < PAGE_BYTES:
            raise SegmentInvalid(f"the file ends within its header, after {page.size} bytes")
        if not page.any():
            return None
        header = page[:_HEADER_BYTES].tobytes()
        magic, version, *fields = _HEADER.unpack_from(header)
        if magic != SEGMENT_MAGIC:
            raise SegmentInvalid("no segment header starts here")
        if zlib.crc32(header[:-4]) != _CRC.unpack_from(header, _HEADER.size)[0]:
            raise SegmentInvalid("the segment header's checksum does not match")
        if version != SEGMENT_VERSION:
            raise LogVersionUnsupported(path, f"format version {version}")
        segment = cls(path, *fields)
        if segment.number != segment_number(path):
            raise SegmentInvalid(f"the header says segment {segment.number}")
        return segment

    def add_offset(self, index: int, offset: int) -> None:
        """Take note of where block ``index`` starts; any thread may, for any block, as often as it likes."""
        slot, rest = divmod(index - self.first_index, _BLOCKS_PER_OFFSET)
        if rest == 0:
            self._offsets[slot] = offset

    def offset_at_or_before(self, index: int) -> tuple[int, int]:
        """Return index and offset of the nearest block known at or before block ``index``."""
        slot = (index - self.first_index) // _BLOCKS_PER_OFFSET
        while slot and slot not in self._offsets:
            slot -= 1
        return self.first_index + slot * _BLOCKS_PER_OFFSET, self._offsets.get(slot, PAGE_BYTES)

    def cut_after(self, index: int) -> Self:
        """Return the segment without the offsets of blocks behind ``index``; who reads this one goes on with it."""
        slots_kept = (index - self.first_index) // _BLOCKS_PER_OFFSET + 1
        offsets = {slot: offset for slot, offset in self._offsets.copy().items() if slot < slots_kept}
        return replace(self, _offsets=offsets)


def segment_path(directory: Path, number: int) -> Path:
    """Where segment ``number`` lives."""
    return directory / f"{number:010d}{_SUFFIX}"


def segment_number(path: Path) -> int:
    """Return the number in a segment's name."""
    return int(path.name.removesuffix(_SUFFIX))


def segment_files(directory: Path) -> list[Path]:
    """All segments, used or not, by number; files of other names are none."""
    found = (path for path in directory.glob(f"*{_SUFFIX}") if path.stem.isdecimal())
    return sorted((path for path in found if path == segment_path(directory, segment_number(path))), key=segment_number)


def recycled_path(path: Path) -> Path:
    """Where a segment waits, out of the log, to be used again."""
    return path.with_suffix(_RECYCLED_SUFFIX)


def recycled_files(directory: Path) -> list[Path]:
    """Segments that wait to be used again."""
    return sorted(directory.glob(f"*{_RECYCLED_SUFFIX}"))


def unfinished_path(directory: Path) -> Path:
    """Where the preallocator fills a new file before it has a number."""
    return directory / "segment.new"


def truncated_path(directory: Path) -> Path:
    """Where a copy of a segment that is to be cut is written before it takes the segment's place."""
    return directory / "truncated.new"
