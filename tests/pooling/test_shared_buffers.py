"""Shared buffers are zeroed for every borrower, mapped by path and offset, and bounded by their arena."""

import mmap
from collections.abc import Iterator

import pytest

from pooling.core.object_pool import ObjectPool
from pooling.core.pool_options import PoolOptions
from pooling.shared_buffers import SharedBuffer, SharedBufferFactory, map_buffer

SIZE_BYTES = 2 * mmap.PAGESIZE


@pytest.fixture
def factory() -> Iterator[SharedBufferFactory]:
    made = SharedBufferFactory(4, SIZE_BYTES)
    yield made
    made.close()


def test_a_buffer_is_mapped_by_its_address_and_comes_zeroed_to_the_next_borrower(factory: SharedBufferFactory) -> None:
    pool: ObjectPool[SharedBuffer] = ObjectPool("messages", factory, PoolOptions(max_total=4))
    buffers = [pool.borrow_object() for _ in range(4)]
    for number, buffer in enumerate(buffers, 1):
        assert buffer.offset_bytes % mmap.PAGESIZE == 0
        mapped = map_buffer(buffer)
        assert mapped.shape == (SIZE_BYTES,)
        assert not mapped.any()
        mapped[:] = number
    assert [int(map_buffer(buffer).min()) for buffer in buffers] == [1, 2, 3, 4]
    for buffer in buffers:
        pool.return_object(buffer)
    assert not any(map_buffer(buffer).any() for buffer in buffers)


def test_destroyed_buffers_make_room_for_others(factory: SharedBufferFactory) -> None:
    pool: ObjectPool[SharedBuffer] = ObjectPool("messages", factory, PoolOptions(max_total=4))
    for _ in range(1000):
        with pool.lend() as buffer:
            map_buffer(buffer)[:] = 1
        assert pool.clear() == 1


def test_a_mapped_buffer_outlives_its_arena() -> None:
    factory = SharedBufferFactory(1, SIZE_BYTES)
    factory.open()
    mapped = map_buffer(factory.make())
    factory.close()
    mapped[:] = 7
    assert int(mapped.sum()) == 7 * SIZE_BYTES


@pytest.mark.parametrize("size_bytes", [0, mmap.PAGESIZE // 2, mmap.PAGESIZE + 1, 3 * mmap.PAGESIZE])
def test_sizes_that_cannot_be_mapped_one_by_one_are_refused(size_bytes: int) -> None:
    with pytest.raises(ValueError, match="use a power of two from"):
        SharedBufferFactory(1, size_bytes)


def test_a_factory_that_made_nothing_closes() -> None:
    SharedBufferFactory(1, SIZE_BYTES).close()
