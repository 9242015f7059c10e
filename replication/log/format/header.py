"""Header of a block, as a value: what every version of the format says, and how its bytes are told apart.

All versions have the first 56 bytes in common, from the magic number to the time. Later ones than 1 also keep the
checksum of the first 256 bytes and its place, so that a newer block is known for one: it is refused by name, and never
taken for a torn or damaged one.
"""

import struct
import zlib
from typing import Final, NamedTuple

from replication.log.ballot import Ballot
from replication.log.errors import BlockInvalid

BLOCK_MAGIC: Final = int.from_bytes(b"PSBK", "little")
HASH_BYTES: Final = 16
"""Of the hash that blocks are written with, XXH3-128."""
NO_HASH: Final = bytes(HASH_BYTES)
"""The ``previous_hash`` of a log's first block."""
VERSION_1: Final = 1
VERSION_2: Final = 2
VERSION_1_BYTES: Final = 128
"""Length of a header of version 1."""
HEADER_BYTES: Final = 256
"""Length of a header of version 2, and what the checksums of later ones cover."""

_PLACE: Final = struct.Struct("<Q8xQ")
_PLACE_AT: Final = 8
_MAGIC: Final = BLOCK_MAGIC.to_bytes(4, "little")


class Header(NamedTuple):
    """The fields of a header that is whole, of any version. `replication.log.format.version_2` says what they mean."""

    version: int
    header_bytes: int
    kind: int
    cluster_id: int
    ballot: Ballot
    generation: int
    block_index: int
    first_position: int
    record_count: int
    payload_bytes: int
    time_ns: int
    previous_hash: bytes
    body_hash: bytes
    log_id: int
    durable_index: int
    hash: bytes


def version_of(header: bytes) -> int:
    """Return the version of a header whose magic number and checksum are right.

    Args:
        header: the first 256 bytes of a block, fewer where the file ends before.

    Raises:
        BlockInvalid: no whole header stands there.
    """
    if len(header) < VERSION_1_BYTES:
        raise BlockInvalid(f"{len(header)} bytes are too few for a header")
    if header[:4] != _MAGIC:
        raise BlockInvalid("no block starts here")
    version = int.from_bytes(header[4:6], "little")
    if version == VERSION_1:
        is_whole = zlib.crc32(header[:124]) == int.from_bytes(header[124:128], "little")
    else:
        is_whole = len(header) >= HEADER_BYTES and checksum(header) == int.from_bytes(header[148:152], "little")
    if not is_whole:
        raise BlockInvalid("the header's checksum does not match")
    return version


def place_of(header: bytes) -> tuple[int, int]:
    """Return cluster and index as a whole header of any version states them."""
    cluster_id, index = _PLACE.unpack_from(header, _PLACE_AT)
    return cluster_id, index


def checksum(header: bytes) -> int:
    """Return the CRC-32 of a header from version 2 on: of its 256 bytes but the checksum's own, 148 to 151."""
    return zlib.crc32(header[152:HEADER_BYTES], zlib.crc32(header[:148]))
