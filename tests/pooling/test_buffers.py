"""The pool lends each of a fixed number of page-aligned buffers to one borrower at a time."""

import mmap
import threading
import time

import numpy as np
import pytest

from pooling.buffers import BufferPool, NotBorrowed, PoolExhausted


def test_buffers_are_page_aligned_distinct_and_of_the_size_asked_for() -> None:
    pool = BufferPool(5, 3 * mmap.PAGESIZE)
    buffers = [pool.borrow_object() for _ in range(5)]
    for number, buffer in enumerate(buffers):
        assert buffer.shape == (3 * mmap.PAGESIZE,)
        assert buffer.ctypes.data % mmap.PAGESIZE == 0
        buffer[:] = number
    assert [int(buffer.min()) for buffer in buffers] == [int(buffer.max()) for buffer in buffers] == list(range(5))


def test_a_returned_buffer_is_lent_again_and_the_last_returned_first() -> None:
    pool = BufferPool(2, mmap.PAGESIZE)
    first, second = pool.borrow_object(), pool.borrow_object()
    pool.return_object(first)
    pool.return_object(second)
    assert pool.available == 2
    assert pool.borrow_object().ctypes.data == second.ctypes.data


def test_an_empty_pool_raises_after_the_timeout() -> None:
    pool = BufferPool(1, mmap.PAGESIZE)
    with pool.lend(), pytest.raises(PoolExhausted, match="enlarge the pool"):
        pool.borrow_object(timeout_s=0.01)
    assert pool.available == 1


def test_a_borrower_waits_until_a_buffer_comes_back() -> None:
    pool = BufferPool(1, mmap.PAGESIZE)
    buffer = pool.borrow_object()

    def give_back() -> None:
        time.sleep(0.02)
        pool.return_object(buffer)

    thread = threading.Thread(target=give_back)
    thread.start()
    assert pool.borrow_object(timeout_s=10).ctypes.data == buffer.ctypes.data
    thread.join()


def test_returning_twice_is_an_error() -> None:
    pool = BufferPool(2, mmap.PAGESIZE)
    buffer = pool.borrow_object()
    pool.return_object(buffer)
    with pytest.raises(NotBorrowed):
        pool.return_object(buffer)
    assert pool.available == 2


def test_returning_a_foreign_array_is_an_error() -> None:
    pool = BufferPool(1, mmap.PAGESIZE)
    with pytest.raises(NotBorrowed):
        pool.return_object(np.zeros(mmap.PAGESIZE, np.uint8))


@pytest.mark.parametrize(("count", "buffer_bytes"), [(0, 4096), (1, 0), (1, 4095)])
def test_sizes_that_make_no_sense_are_refused(count: int, buffer_bytes: int) -> None:
    with pytest.raises(ValueError, match=r"ask for at least 1|use a multiple of"):
        BufferPool(count, buffer_bytes)
