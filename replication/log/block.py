"""The block: the unit of the log, of hashing and of replication.

A block is a 128-byte little-endian header and a body: ``count`` records of 64 bytes, then the payloads. It lives in a
page-aligned buffer, the header at byte 0 and the body from byte 128 (so the records start on a cache line), and is
written to disk as it stands, zero-padded to a whole number of pages.

======  ====  ================  ==========================================================================
offset  size  field             meaning
======  ====  ================  ==========================================================================
     0     4  magic             ``PSBK``
     4     2  version           of this format, 1
     6     2  kind              1: transactions, 2: the empty block that opens an epoch
     8     8  cluster_id        whose log it belongs to
    16     8  epoch             the leadership under which it was sealed
    24     8  index             the block's place in the log, from 1, without gaps
    32     8  first_position    the number of its first transaction, from 0
    40     4  count             records
    44     4  payload_bytes     payloads together, without padding
    48     8  time_ns           Unix time, given by the leader; the time of every transaction in the block
    56    16  previous_hash     hash of the previous block's header; zero in the log's first block
    72    16  body_hash         XXH3-128 of records and payloads
    88     8  durable_index     highest index that its writer knew to be synced when sealing
    96    28  reserved          zero
   124     4  header_crc        CRC-32 of bytes 0 to 123
======  ====  ================  ==========================================================================

A header's hash (XXH3-128 of its 128 bytes) covers the body's hash and, through ``previous_hash``, all blocks before it:
two logs with equal last hashes are equal.
"""

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_128_digest

from penstock.contract.limits import BATCH_SIZE, FRAME_PAYLOAD_BYTES_MAX
from penstock.contract.record import RECORD_BYTES, RECORD_WORDS
from replication.log.errors import BlockInvalid, BlockVersionUnsupported

PAGE_BYTES: Final = 4096
BLOCK_MAGIC: Final = int.from_bytes(b"PSBK", "little")
BLOCK_VERSION: Final = 1
HEADER_BYTES: Final = 128
HASH_BYTES: Final = 16
NO_HASH: Final = bytes(HASH_BYTES)
"""The ``previous_hash`` of a log's first block."""

_HEADER: Final = struct.Struct("<IHHQQQQIIQ16s16sQ28x")
_LENGTHS: Final = struct.Struct("<II")
_CRC: Final = struct.Struct("<I")
assert _HEADER.size + _CRC.size == HEADER_BYTES


class BlockKind(IntEnum):
    """What a block holds."""

    TRANSACTIONS = 1
    EPOCH = 2


def padded(byte_count: int) -> int:
    """Return ``byte_count`` rounded up to whole pages."""
    return -byte_count % PAGE_BYTES + byte_count


def stored_bytes(count: int, payload_bytes: int) -> int:
    """Bytes that a block of ``count`` records and ``payload_bytes`` takes in a buffer and in the log."""
    return padded(HEADER_BYTES + count * RECORD_BYTES + payload_bytes)


def stated_bytes(buffer: NDArray[np.uint8]) -> int:
    """Bytes the block at the start of ``buffer`` would take if its header, which is not checked, were right."""
    count, payload_bytes = _LENGTHS.unpack_from(buffer[:HEADER_BYTES].tobytes(), 40)
    return min(stored_bytes(count, payload_bytes), BLOCK_BYTES_MAX)


BLOCK_BYTES_MAX: Final = stored_bytes(BATCH_SIZE, FRAME_PAYLOAD_BYTES_MAX)
"""Size of a buffer that any block fits into."""


class Block:
    """A sealed block: the fields of its header, and views of its records and payloads in ``buffer``.

    ``buffer`` is ``uint8[>= stored_bytes]``; views borrow it, so whoever owns it must let go of the block first.
    """

    __slots__ = (
        "body_hash",
        "buffer",
        "cluster_id",
        "count",
        "durable_index",
        "epoch",
        "first_position",
        "hash",
        "index",
        "kind",
        "payload_bytes",
        "previous_hash",
        "time_ns",
    )

    def __init__(self, buffer: NDArray[np.uint8]) -> None:
        """Take the fields from a header known to be whole; :meth:`parse` and :meth:`seal` are the ways to get one."""
        header = buffer[:HEADER_BYTES].tobytes()
        self.kind: int
        self.cluster_id: int
        self.epoch: int
        self.index: int
        self.first_position: int
        self.count: int
        self.payload_bytes: int
        self.time_ns: int
        self.previous_hash: bytes
        self.body_hash: bytes
        self.durable_index: int
        (
            _,
            _,
            self.kind,
            self.cluster_id,
            self.epoch,
            self.index,
            self.first_position,
            self.count,
            self.payload_bytes,
            self.time_ns,
            self.previous_hash,
            self.body_hash,
            self.durable_index,
        ) = _HEADER.unpack_from(header)
        self.hash: bytes = xxh3_128_digest(header)
        self.buffer = buffer

    @classmethod
    def seal(
        cls,
        buffer: NDArray[np.uint8],
        *,
        cluster_id: int,
        epoch: int,
        index: int,
        first_position: int,
        count: int,
        payload_bytes: int,
        time_ns: int,
        previous_hash: bytes,
        durable_index: int,
        kind: BlockKind = BlockKind.TRANSACTIONS,
    ) -> Self:
        """Write the header over ``buffer[0:128]`` and zeros behind the body, which already stands from byte 128 on.

        ``buffer`` is writable ``uint8[>= stored_bytes(count, payload_bytes)]``.
        """
        assert index >= 1
        assert 0 <= durable_index < index
        assert len(previous_hash) == HASH_BYTES
        assert (index == 1) == (previous_hash == NO_HASH)
        assert 0 <= count <= BATCH_SIZE
        assert 0 <= payload_bytes <= FRAME_PAYLOAD_BYTES_MAX
        end = HEADER_BYTES + count * RECORD_BYTES + payload_bytes
        assert padded(end) <= buffer.size
        header = _HEADER.pack(
            BLOCK_MAGIC,
            BLOCK_VERSION,
            kind,
            cluster_id,
            epoch,
            index,
            first_position,
            count,
            payload_bytes,
            time_ns,
            previous_hash,
            xxh3_128_digest(buffer[HEADER_BYTES:end].data),
            durable_index,
        )
        buffer[:HEADER_BYTES] = np.frombuffer(header + _CRC.pack(zlib.crc32(header)), np.uint8)
        # The pool's buffers are used again and again: what an earlier block left must not reach the disk.
        buffer[end : padded(end)] = 0
        return cls(buffer)

    @classmethod
    def parse(cls, buffer: NDArray[np.uint8]) -> Self:
        """Read the block at the start of ``buffer`` (``uint8``, may be longer and read-only), without reading its body.

        Raises:
            BlockInvalid: no whole header stands there, or the body would overrun the buffer.
            BlockVersionUnsupported: the header is whole, and of another version.
        """
        block = cls.parse_header(buffer)
        if block.stored_bytes > buffer.size:
            raise BlockInvalid(f"{block.stored_bytes} bytes overrun what is left, {buffer.size}")
        return block

    @classmethod
    def parse_header(cls, buffer: NDArray[np.uint8]) -> Self:
        """Read a header alone; the body's views may be short.

        Raises:
            BlockInvalid: no whole header stands there.
            BlockVersionUnsupported: the header is whole, and of another version.
        """
        if buffer.size < HEADER_BYTES:
            raise BlockInvalid(f"{buffer.size} bytes are too few for a header")
        header = buffer[:HEADER_BYTES].tobytes()
        if int.from_bytes(header[:4], "little") != BLOCK_MAGIC:
            raise BlockInvalid("no block starts here")
        if zlib.crc32(header[:-4]) != _CRC.unpack_from(header, HEADER_BYTES - _CRC.size)[0]:
            raise BlockInvalid("the header's checksum does not match")
        version = int.from_bytes(header[4:6], "little")
        if version != BLOCK_VERSION:
            raise BlockVersionUnsupported(version, BLOCK_VERSION)
        block = cls(buffer)
        if block.kind not in set(BlockKind):
            raise BlockInvalid(f"there are no blocks of kind {block.kind}")
        if block.count > BATCH_SIZE or block.payload_bytes > FRAME_PAYLOAD_BYTES_MAX:
            raise BlockInvalid(f"{block.count} records and {block.payload_bytes} bytes of payloads are over the limits")
        return block

    def verify(self) -> None:
        """Compare the body with its hash.

        Raises:
            BlockInvalid: they differ.
        """
        if xxh3_128_digest(self.body.data) != self.body_hash:
            raise BlockInvalid("the body's hash does not match")

    @property
    def body(self) -> NDArray[np.uint8]:
        """Records and payloads, ``uint8[count * 64 + payload_bytes]``."""
        return self.buffer[HEADER_BYTES : HEADER_BYTES + self.count * RECORD_BYTES + self.payload_bytes]

    @property
    def records(self) -> NDArray[np.uint64]:
        """The records, ``uint64[count, 8]``."""
        end = HEADER_BYTES + self.count * RECORD_BYTES
        return self.buffer[HEADER_BYTES:end].view(np.uint64).reshape(-1, RECORD_WORDS)

    @property
    def payloads(self) -> NDArray[np.uint8]:
        """All payloads, one behind the other in record order, ``uint8[payload_bytes]``."""
        start = HEADER_BYTES + self.count * RECORD_BYTES
        return self.buffer[start : start + self.payload_bytes]

    @property
    def next_position(self) -> int:
        """Number of the first transaction after this block."""
        return self.first_position + self.count

    @property
    def stored_bytes(self) -> int:
        """Bytes the block takes in the log: whole pages."""
        return stored_bytes(self.count, self.payload_bytes)

    def __repr__(self) -> str:
        return f"Block(index={self.index}, epoch={self.epoch}, position={self.first_position}, count={self.count})"


@dataclass(frozen=True, slots=True)
class ChainTip:
    """The end of a chain of blocks: what the next block has to follow."""

    index: int
    """Index of the last block; 0 where there is none."""
    next_position: int
    """Number of the first transaction of the next block."""
    hash: bytes | None
    """Hash of the last block, ``None`` where it is unknown: then any ``previous_hash`` follows."""
    time_ns: int
    """Time of the last block; 0 where there is none."""

    @classmethod
    def of(cls, block: Block) -> Self:
        """Return the tip of a chain that ends with ``block``."""
        return cls(block.index, block.next_position, block.hash, block.time_ns)

    def is_followed_by(self, block: Block) -> bool:
        """Tell whether ``block`` is the chain's next one, by index, position and hash."""
        return (
            block.index == self.index + 1
            and block.first_position == self.next_position
            and self.hash in (None, block.previous_hash)
        )


EMPTY_CHAIN: Final = ChainTip(0, 0, NO_HASH, 0)
