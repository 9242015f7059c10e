"""A writer of block format 1, as it was when that was the format: for logs that this program has to read."""

import struct
import zlib

from xxhash import xxh3_128_digest

from tests.replication.log.chain import CLUSTER


def header_of_format_1(
    body: bytes,
    *,
    count: int,
    index: int,
    first_position: int,
    previous_hash: bytes,
    epoch: int = 1,
    durable_index: int | None = None,
) -> bytes:
    """Return the 128 bytes before a body of ``count`` records and their payloads."""
    header = b"PSBK" + struct.pack(
        "<HHQQQQIIQ16s16sQ28x",
        1,
        1,
        CLUSTER,
        epoch,
        index,
        first_position,
        count,
        len(body) - count * 64,
        1_700_000_000_000_000_000 + index - 1,
        previous_hash,
        xxh3_128_digest(body),
        index - 1 if durable_index is None else durable_index,
    )
    return header + struct.pack("<I", zlib.crc32(header))
