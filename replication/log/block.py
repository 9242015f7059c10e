"""The block: the unit of the log, of hashing and of replication.

A block is a little-endian header and a body: ``count`` records of 64 bytes, then the payloads. It lives in a
page-aligned buffer, the header at byte 0 and the body behind it (so the records start on a cache line), and is
written to disk as it stands, zero-padded to a whole number of pages. Blocks are written in version 2 of the format
(`replication.log.format.version_2`), with a header of 256 bytes, and read in versions 1 and 2; a log may hold both.

A header's hash covers the body's hash and, through ``previous_hash``, all blocks before it: two logs with equal last
hashes are equal.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_128_digest

from penstock.contract.limits import BATCH_SIZE, FRAME_PAYLOAD_BYTES_MAX
from penstock.contract.record import RECORD_BYTES, RECORD_WORDS
from replication.log.ballot import NO_BALLOT, Ballot
from replication.log.errors import BlockInvalid, BlockUnsupported
from replication.log.format import version_1, version_2
from replication.log.format.header import (
    BLOCK_MAGIC,
    HEADER_BYTES,
    NO_HASH,
    VERSION_1,
    VERSION_1_BYTES,
    VERSION_2,
    Header,
    version_of,
)

__all__ = [
    "BLOCK_BYTES_MAX",
    "BLOCK_MAGIC",
    "EMPTY_CHAIN",
    "HEADER_BYTES",
    "NO_HASH",
    "PAGE_BYTES",
    "Block",
    "BlockKind",
    "ChainTip",
    "padded",
    "stated_bytes",
    "stored_bytes",
]

PAGE_BYTES: Final = 4096

_STATED: Final = struct.Struct("<4xH34xII")
"""Version, records, payload bytes."""


class BlockKind(IntEnum):
    """What a block holds."""

    TRANSACTIONS = 1
    EPOCH = 2


_KINDS: Final = frozenset(BlockKind)


def padded(byte_count: int) -> int:
    """Return ``byte_count`` rounded up to whole pages."""
    return -byte_count % PAGE_BYTES + byte_count


def stored_bytes(count: int, payload_bytes: int) -> int:
    """Bytes that a new block of ``count`` records and ``payload_bytes`` takes in a buffer and in the log."""
    return padded(HEADER_BYTES + count * RECORD_BYTES + payload_bytes)


def stated_bytes(buffer: NDArray[np.uint8]) -> int:
    """Bytes the block at the start of ``buffer`` would take if its header, which is not checked, were right."""
    version, count, payload_bytes = _STATED.unpack_from(buffer.data)
    header_bytes = VERSION_1_BYTES if version == VERSION_1 else HEADER_BYTES
    return min(padded(header_bytes + count * RECORD_BYTES + payload_bytes), BLOCK_BYTES_MAX)


BLOCK_BYTES_MAX: Final = stored_bytes(BATCH_SIZE, FRAME_PAYLOAD_BYTES_MAX)
"""Size of a buffer that any block fits into."""


class Block:
    """A sealed block: the fields of its header, and views of its records and payloads in ``buffer``.

    ``buffer`` is ``uint8[>= stored_bytes]``; views borrow it, so whoever owns it must let go of the block first.
    """

    __slots__ = (
        "ballot",
        "body_hash",
        "buffer",
        "cluster_id",
        "count",
        "durable_index",
        "first_position",
        "generation",
        "hash",
        "header_bytes",
        "index",
        "kind",
        "log_id",
        "payload_bytes",
        "previous_hash",
        "time_ns",
        "version",
    )

    def __init__(self, buffer: NDArray[np.uint8], header: Header) -> None:
        """Take the fields of the header that stands in ``buffer``; :meth:`parse` and :meth:`seal` get one."""
        self.version: int
        self.header_bytes: int
        self.kind: int
        self.cluster_id: int
        self.ballot: Ballot
        self.generation: int
        self.index: int
        self.first_position: int
        self.count: int
        self.payload_bytes: int
        self.time_ns: int
        self.previous_hash: bytes
        self.body_hash: bytes
        self.log_id: int
        self.durable_index: int
        self.hash: bytes
        (
            self.version,
            self.header_bytes,
            self.kind,
            self.cluster_id,
            self.ballot,
            self.generation,
            self.index,
            self.first_position,
            self.count,
            self.payload_bytes,
            self.time_ns,
            self.previous_hash,
            self.body_hash,
            self.log_id,
            self.durable_index,
            self.hash,
        ) = header
        self.buffer = buffer

    @classmethod
    def seal(
        cls,
        buffer: NDArray[np.uint8],
        *,
        cluster_id: int,
        ballot: Ballot,
        index: int,
        first_position: int,
        count: int,
        payload_bytes: int,
        time_ns: int,
        previous_hash: bytes,
        durable_index: int,
        generation: int = 0,
        log_id: int = 0,
        kind: BlockKind = BlockKind.TRANSACTIONS,
    ) -> Self:
        """Write the header over ``buffer[0:256]`` and zeros behind the body, which already stands from byte 256 on.

        ``buffer`` is writable ``uint8[>= stored_bytes(count, payload_bytes)]``. ``log_id`` and ``durable_index`` are
        those of the log that the block is sealed for; any other that it is appended to writes its own instead.
        """
        assert index >= 1
        assert 0 <= durable_index < index
        assert ballot > NO_BALLOT
        assert (index == 1) == (previous_hash == NO_HASH)
        assert 0 <= count <= BATCH_SIZE
        assert 0 <= payload_bytes <= FRAME_PAYLOAD_BYTES_MAX
        end = HEADER_BYTES + count * RECORD_BYTES + payload_bytes
        assert padded(end) <= buffer.size
        written, header = version_2.pack(
            kind=kind,
            cluster_id=cluster_id,
            ballot=ballot,
            generation=generation,
            index=index,
            first_position=first_position,
            count=count,
            payload_bytes=payload_bytes,
            time_ns=time_ns,
            previous_hash=previous_hash,
            body_hash=xxh3_128_digest(buffer[HEADER_BYTES:end].data),
            log_id=log_id,
            durable_index=durable_index,
        )
        buffer[:HEADER_BYTES] = np.frombuffer(written, np.uint8)
        # The pool's buffers are used again and again: what an earlier block left must not reach the disk.
        buffer[end : padded(end)] = 0
        return cls(buffer, header)

    @classmethod
    def parse(cls, buffer: NDArray[np.uint8]) -> Self:
        """Read the block at the start of ``buffer`` (``uint8``, may be longer and read-only), without reading its body.

        Raises:
            BlockInvalid: no whole header stands there, or the body would overrun the buffer.
            BlockUnsupported: the header is whole, and needs what this program does not know.
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
            BlockUnsupported: the header is whole, and needs what this program does not know.
        """
        header = buffer[:HEADER_BYTES].tobytes()
        version = version_of(header)
        if version == VERSION_2:
            block = cls(buffer, version_2.unpack(header))
        elif version == VERSION_1:
            block = cls(buffer, version_1.unpack(header[:VERSION_1_BYTES]))
        else:
            raise BlockUnsupported(f"a block of format version {version}")
        if block.kind not in _KINDS:
            raise BlockUnsupported(f"a block of kind {block.kind}")
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
        start = self.header_bytes
        return self.buffer[start : start + self.count * RECORD_BYTES + self.payload_bytes]

    @property
    def records(self) -> NDArray[np.uint64]:
        """The records, ``uint64[count, 8]``."""
        start = self.header_bytes
        return self.buffer[start : start + self.count * RECORD_BYTES].view(np.uint64).reshape(-1, RECORD_WORDS)

    @property
    def payloads(self) -> NDArray[np.uint8]:
        """All payloads, one behind the other in record order, ``uint8[payload_bytes]``."""
        start = self.header_bytes + self.count * RECORD_BYTES
        return self.buffer[start : start + self.payload_bytes]

    @property
    def next_position(self) -> int:
        """Number of the first transaction after this block."""
        return self.first_position + self.count

    @property
    def stored_bytes(self) -> int:
        """Bytes the block takes in the log: whole pages."""
        return padded(self.header_bytes + self.count * RECORD_BYTES + self.payload_bytes)

    def __repr__(self) -> str:
        return f"Block(index={self.index}, {self.ballot}, position={self.first_position}, count={self.count})"


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
    ballot: Ballot = NO_BALLOT
    """The ballot under which the last block was sealed; `NO_BALLOT` where there is none, or it is unknown."""

    @classmethod
    def of(cls, block: Block) -> Self:
        """Return the tip of a chain that ends with ``block``."""
        return cls(block.index, block.next_position, block.hash, block.time_ns, block.ballot)

    def is_followed_by(self, block: Block) -> bool:
        """Tell whether ``block`` is the chain's next one, by index, position and hash."""
        return (
            block.index == self.index + 1
            and block.first_position == self.next_position
            and self.hash in (None, block.previous_hash)
        )


EMPTY_CHAIN: Final = ChainTip(0, 0, NO_HASH, 0)
