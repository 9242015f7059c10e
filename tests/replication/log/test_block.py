"""A block's header is exact, its hashes cover everything that is the same on all nodes, and its views are the body."""

import struct
import zlib

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pooling.buffers import aligned_buffer
from replication.log.ballot import Ballot
from replication.log.block import BLOCK_BYTES_MAX, HEADER_BYTES, NO_HASH, Block, BlockKind, stated_bytes, stored_bytes
from replication.log.errors import BlockInvalid, BlockUnsupported
from replication.log.format.version_2 import stamp
from tests.replication.log.format_1.writer import header_of_format_1

GOLDEN = (
    "5053424b020001008877665544332211030000000000000009000000000000004d000000000000000200000005000000"
    "154d5fca286f771807000000000000000b00000000000000000101000000000000000000"
)
"""The beginning of a header, to byte 83; zeros follow to byte 127."""


def _sealed(count: int, payload_bytes: int, index: int = 1, previous_hash: bytes = NO_HASH, **fields: int) -> Block:
    buffer = aligned_buffer(stored_bytes(count, payload_bytes) + 8192)
    buffer[:] = np.random.default_rng(count).integers(0, 256, buffer.size, np.uint8)
    return Block.seal(
        buffer,
        cluster_id=0x1122334455667788,
        ballot=Ballot(3, 7),
        generation=11,
        index=index,
        first_position=77,
        count=count,
        payload_bytes=payload_bytes,
        time_ns=1_763_000_000_123_456_789,
        previous_hash=previous_hash,
        log_id=0xABCD,
        durable_index=fields.get("durable_index", index - 1),
        kind=BlockKind.TRANSACTIONS,
    )


def _reseal(buffer: NDArray[np.uint8]) -> None:
    """Make the header's checksum right again after a change to it."""
    header = buffer[:256].tobytes()
    buffer[148:152] = np.frombuffer(struct.pack("<I", zlib.crc32(header[:148] + header[152:])), np.uint8)


def test_the_header_is_laid_out_byte_for_byte_as_documented() -> None:
    block = _sealed(2, 5, index=9, previous_hash=b"p" * 16)
    header = block.buffer[:256].tobytes()
    body = block.buffer[256 : 256 + 2 * 64 + 5].tobytes()
    assert header[:128] == bytes.fromhex(GOLDEN).ljust(128, b"\0")
    assert header[128:148] == struct.pack("<QQHH", 0xABCD, 8, 0, 0)
    assert header[148:152] == struct.pack("<I", zlib.crc32(header[:148] + header[152:]))
    assert header[152:192] == bytes(40)
    assert header[192:] == b"p" * 16 + bytes(16) + xxhash.xxh3_128_digest(body) + bytes(16)
    assert block.hash == xxhash.xxh3_128_digest(header[:128] + header[192:])


def test_a_golden_block_hashes_to_what_it_has_always_hashed_to() -> None:
    buffer = aligned_buffer(4096)
    buffer[256:384] = np.arange(128, dtype=np.uint8)
    block = Block.seal(
        buffer,
        cluster_id=1,
        ballot=Ballot(2, 3),
        generation=4,
        index=1,
        first_position=0,
        count=2,
        payload_bytes=0,
        time_ns=5,
        previous_hash=NO_HASH,
        log_id=6,
        durable_index=0,
    )
    assert (block.body_hash.hex(), block.hash.hex()) == (
        "14792fc3af88dc6c05321a0b64d67b41",
        "91322631cf8c2700283435551f2d3443",
    )


def test_the_hash_is_the_same_on_every_node_whatever_each_knew_to_be_synced() -> None:
    block = _sealed(2, 5, index=9, previous_hash=b"p" * 16)
    stamp(block.buffer, 0x99, 3)
    stamped = Block.parse(block.buffer)
    stamped.verify()
    assert (stamped.log_id, stamped.durable_index) == (0x99, 3)
    assert stamped.hash == block.hash
    assert _sealed(2, 5, index=9, previous_hash=b"p" * 16, durable_index=1).hash == block.hash


@pytest.mark.parametrize("offset", [8, 16, 24, 32, 40, 48, 56, 64, 100, 192, 207, 224, 239])
def test_the_hash_covers_all_that_is_the_same_on_every_node(offset: int) -> None:
    block = _sealed(2, 5, index=9, previous_hash=b"p" * 16)
    block.buffer[offset] ^= 1
    _reseal(block.buffer)
    assert Block.parse_header(block.buffer).hash != block.hash


@given(count=st.integers(0, 40), payload_bytes=st.integers(0, 9000))
def test_a_sealed_block_parses_to_the_same_fields_and_its_views_are_its_body(count: int, payload_bytes: int) -> None:
    sealed = _sealed(count, payload_bytes)
    block = Block.parse(sealed.buffer)
    block.verify()
    for name in set(Block.__slots__) - {"buffer"}:
        assert getattr(block, name) == getattr(sealed, name)
    assert block.records.shape == (count, 8)
    assert block.records.tobytes() + block.payloads.tobytes() == block.body.tobytes()
    assert block.stored_bytes % 4096 == 0
    assert block.stored_bytes == stated_bytes(block.buffer) == stored_bytes(count, payload_bytes)
    assert not block.buffer[HEADER_BYTES + block.body.size : block.stored_bytes].any()
    assert block.next_position == 77 + count


@given(count=st.integers(0, 40), payload_bytes=st.integers(0, 9000))
def test_a_block_of_format_1_is_read_by_its_own_layout(count: int, payload_bytes: int) -> None:
    body = np.random.default_rng(count).integers(0, 256, count * 64 + payload_bytes, np.uint8).tobytes()
    header = header_of_format_1(body, count=count, index=9, first_position=77, previous_hash=b"p" * 16, epoch=3)
    whole = header + body
    block = Block.parse(np.frombuffer(whole.ljust(-len(whole) % 4096 + len(whole), b"\0"), np.uint8))
    block.verify()
    assert (block.version, block.ballot, block.generation, block.log_id) == (1, Ballot(3, 0), 0, 0)
    assert (block.index, block.first_position, block.count, block.payload_bytes) == (9, 77, count, payload_bytes)
    assert (block.previous_hash, block.durable_index) == (b"p" * 16, 8)
    assert block.hash == xxhash.xxh3_128_digest(header)
    assert block.body.tobytes() == body
    assert block.records.tobytes() + block.payloads.tobytes() == body
    assert block.stored_bytes == block.buffer.size == stated_bytes(block.buffer)


@given(offset=st.integers(0, HEADER_BYTES + 3 * 64 + 10 - 1), bit=st.integers(0, 7))
def test_any_flipped_bit_is_noticed(offset: int, bit: int) -> None:
    block = _sealed(3, 10)
    block.buffer[offset] ^= 1 << bit
    with pytest.raises(BlockInvalid):
        Block.parse(block.buffer).verify()


def test_a_block_longer_than_what_is_there_is_invalid() -> None:
    block = _sealed(100, 0)
    with pytest.raises(BlockInvalid, match="overrun"):
        Block.parse(block.buffer[:4096])
    for size in (100, 200):
        with pytest.raises(BlockInvalid):
            Block.parse(block.buffer[:size])


@pytest.mark.parametrize(("offset", "value"), [(40, 10_001), (44, (4 << 20) + 1)])
def test_a_whole_header_with_lengths_over_the_limits_is_invalid(offset: int, value: int) -> None:
    block = _sealed(1, 0)
    block.buffer[offset : offset + 4] = np.frombuffer(struct.pack("<I", value), np.uint8)
    _reseal(block.buffer)
    with pytest.raises(BlockInvalid, match="over the limits"):
        Block.parse(block.buffer)


@pytest.mark.parametrize(
    ("offset", "value", "what"),
    [
        (4, 3, "format version 3"),
        (6, 9, "kind 9"),
        (72, 128, "a header of 384 bytes"),
        (74, 2, "hashed by algorithm 2"),
        (76, 1, "flags 0x1"),
        (76, 128, "flags 0x80"),
        (144, 1, "encrypted by cipher 1"),
    ],
)
def test_a_whole_block_that_needs_what_is_not_known_here_says_what(offset: int, value: int, what: str) -> None:
    block = _sealed(1, 0)
    block.buffer[offset] = value
    _reseal(block.buffer)
    with pytest.raises(BlockUnsupported, match=f"{what}, which this program does not know: use a version that does"):
        Block.parse(block.buffer)


@pytest.mark.parametrize("offset", [80, 152, 160, 172, 187, 191])
def test_fields_of_what_has_no_flag_are_a_contradiction(offset: int) -> None:
    block = _sealed(1, 0)
    block.buffer[offset] = 1
    _reseal(block.buffer)
    with pytest.raises(BlockInvalid):
        Block.parse(block.buffer)


def test_the_largest_block_fits_into_the_largest_buffer() -> None:
    assert stored_bytes(10_000, 4 << 20) == BLOCK_BYTES_MAX
    assert BLOCK_BYTES_MAX % 4096 == 0
