"""Buffers start on a page, arrays come zeroed, and destroying one frees its memory and no other's."""

import mmap
from pathlib import Path

import numpy as np
import pytest

from pooling.buffers import ArrayFactory, BufferFactory
from pooling.core.object_pool import ObjectPool
from pooling.core.pool_options import PoolOptions


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


def test_buffers_are_page_aligned_distinct_and_of_the_size_asked_for() -> None:
    pool = ObjectPool("buffers", BufferFactory(3 * mmap.PAGESIZE), PoolOptions(max_total=5))
    buffers = [pool.borrow_object() for _ in range(5)]
    for number, buffer in enumerate(buffers):
        assert buffer.shape == (3 * mmap.PAGESIZE,)
        assert buffer.ctypes.data % mmap.PAGESIZE == 0
        buffer[:] = number
    assert [int(buffer.min()) for buffer in buffers] == [int(buffer.max()) for buffer in buffers] == list(range(5))


def test_thousands_of_block_buffers_cost_no_memory_until_they_are_touched() -> None:
    before = resident_bytes()
    pool = ObjectPool("blocks", BufferFactory(1200 * mmap.PAGESIZE), PoolOptions(max_total=5000))
    assert pool.prepare(5000) == 5000
    assert resident_bytes() - before < 32 << 20


def test_clearing_a_pool_gives_the_touched_memory_back() -> None:
    pool = ObjectPool("blocks", BufferFactory(32 << 20), PoolOptions(max_total=2))
    with pool.lend() as buffer:
        buffer[:] = 1
        del buffer
    full = resident_bytes()
    assert pool.clear() == 1
    assert full - resident_bytes() > 30 << 20


@pytest.mark.parametrize("buffer_bytes", [0, 4095])
def test_sizes_that_make_no_sense_are_refused(buffer_bytes: int) -> None:
    with pytest.raises(ValueError, match="use a multiple of"):
        BufferFactory(buffer_bytes)


def test_small_arrays_are_distinct_and_no_borrower_sees_another_s_data() -> None:
    pool = ObjectPool("arrays", ArrayFactory(3, np.uint64, per_allocation=2), PoolOptions(max_total=5))
    arrays = [pool.borrow_object() for _ in range(5)]
    for number, array in enumerate(arrays, 1):
        assert array.dtype == np.uint64
        assert not array.any()
        array[:] = number
    assert [array.tolist() for array in arrays] == [[number] * 3 for number in range(1, 6)]
    for array in arrays:
        pool.return_object(array)
    assert not pool.borrow_object().any()
