"""A block's header is exact, its hashes cover everything, and its views are the body."""

import struct
import zlib

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from pooling.buffers import aligned_buffer
from replication.log.block import BLOCK_BYTES_MAX, HEADER_BYTES, NO_HASH, Block, BlockKind, stated_bytes, stored_bytes
from replication.log.errors import BlockInvalid, BlockVersionUnsupported


def _sealed(count: int, payload_bytes: int, index: int = 1, previous_hash: bytes = NO_HASH) -> Block:
    buffer = aligned_buffer(stored_bytes(count, payload_bytes) + 8192)
    buffer[:] = np.random.default_rng(count).integers(0, 256, buffer.size, np.uint8)
    return Block.seal(
        buffer,
        cluster_id=0x1122334455667788,
        epoch=3,
        index=index,
        first_position=77,
        count=count,
        payload_bytes=payload_bytes,
        time_ns=1_763_000_000_123_456_789,
        previous_hash=previous_hash,
        durable_index=index - 1,
        kind=BlockKind.TRANSACTIONS,
    )


def _reseal(block: Block) -> None:
    """Make the header's checksum right again after a change to it."""
    block.buffer[124:128] = np.frombuffer(struct.pack("<I", zlib.crc32(block.buffer[:124].tobytes())), np.uint8)


def test_the_header_is_laid_out_byte_for_byte_as_documented() -> None:
    block = _sealed(2, 5, index=9, previous_hash=b"p" * 16)
    header = block.buffer[:128].tobytes()
    body = block.buffer[128 : 128 + 2 * 64 + 5].tobytes()
    expected = b"PSBK" + struct.pack("<HHQQQQIIQ", 1, 1, 0x1122334455667788, 3, 9, 77, 2, 5, 1_763_000_000_123_456_789)
    expected += b"p" * 16 + xxhash.xxh3_128_digest(body) + struct.pack("<Q", 8) + bytes(28)
    assert header[:124] == expected
    assert header[124:] == struct.pack("<I", zlib.crc32(expected))
    assert block.hash == xxhash.xxh3_128_digest(header)


@given(count=st.integers(0, 40), payload_bytes=st.integers(0, 9000))
def test_a_sealed_block_parses_to_the_same_fields_and_its_views_are_its_body(count: int, payload_bytes: int) -> None:
    sealed = _sealed(count, payload_bytes)
    block = Block.parse(sealed.buffer)
    block.verify()
    for name in ("index", "epoch", "count", "payload_bytes", "time_ns", "first_position", "body_hash", "hash"):
        assert getattr(block, name) == getattr(sealed, name)
    assert block.records.shape == (count, 8)
    assert block.records.tobytes() + block.payloads.tobytes() == block.body.tobytes()
    assert block.stored_bytes % 4096 == 0
    assert block.stored_bytes == stated_bytes(block.buffer)
    assert not block.buffer[HEADER_BYTES + block.body.size : block.stored_bytes].any()
    assert block.next_position == 77 + count


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
    with pytest.raises(BlockInvalid, match="too few"):
        Block.parse(block.buffer[:100])


@pytest.mark.parametrize(("offset", "value"), [(40, 10_001), (44, (4 << 20) + 1)])
def test_a_whole_header_with_lengths_over_the_limits_is_invalid(offset: int, value: int) -> None:
    block = _sealed(1, 0)
    block.buffer[offset : offset + 4] = np.frombuffer(struct.pack("<I", value), np.uint8)
    _reseal(block)
    with pytest.raises(BlockInvalid, match="over the limits"):
        Block.parse(block.buffer)


def test_a_whole_header_of_an_unknown_kind_is_invalid() -> None:
    block = _sealed(1, 0)
    block.buffer[6] = 9
    _reseal(block)
    with pytest.raises(BlockInvalid, match="kind 9"):
        Block.parse(block.buffer)


def test_a_whole_header_of_a_newer_version_says_so() -> None:
    block = _sealed(1, 0)
    block.buffer[4] = 2
    _reseal(block)
    with pytest.raises(BlockVersionUnsupported, match="version 2"):
        Block.parse(block.buffer)


def test_the_largest_block_fits_into_the_largest_buffer() -> None:
    assert stored_bytes(10_000, 4 << 20) == BLOCK_BYTES_MAX
    assert BLOCK_BYTES_MAX % 4096 == 0
