"""Compiled loops over ``malloc`` and ``free`` of the allocator that this process was started with.

They allocate, write the first word, and free, as ``arena_loops`` does with the arena. Batches are timed, because
reading the clock costs more than an allocation. A sample is the time of a batch, so a single slow operation shows in
the highest samples, divided by the batch's size.
"""

from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from txqueue.jit.decorators import kernel

BATCH: Final = 100  # pairs of an allocation and a free per sample

Int = int | np.int64
Words = NDArray[np.uint64]

# With integers for pointers these are not the signatures that the optimizer knows: it would remove all the calls.
_malloc: Any = types.ExternalFunction("malloc", types.int64(types.int64))
_free: Any = types.ExternalFunction("free", types.void(types.int64))
_clock_gettime: Any = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.int64))
_CLOCK_MONOTONIC: Final = 1


def _store_at(_typing_context: Any, _address: Any, _value: Any) -> Any:
    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        address, value = arguments
        builder.store(value, builder.inttoptr(address, ir.IntType(64).as_pointer()))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


store_at: Any = intrinsic(_store_at)
"""``store_at(address, value)``: writes eight bytes to memory that no array names."""


@kernel
def now_ns(clock: Words, clock_address: Int) -> Int:
    """The monotonic clock. ``clock`` is uint64[2] for the answer, and ``clock_address`` where it stands."""
    _clock_gettime(_CLOCK_MONOTONIC, clock_address)
    return np.int64(clock[0]) * 1_000_000_000 + np.int64(clock[1])


@kernel
def malloc_one_by_one(byte_count: Int, end_ns: Int, samples: Words, clock: Words, clock_address: Int) -> Int:
    """Free every allocation at once. Writes each batch's time to ``samples`` (uint64[n]), cyclically, until ``end_ns``.

    Returns:
        The number of batches.
    """
    count = 0
    before_ns = now_ns(clock, clock_address)
    while before_ns < end_ns:
        for index in range(BATCH):
            address = _malloc(byte_count)
            store_at(address, index)
            _free(address)
        after_ns = now_ns(clock, clock_address)
        samples[count % samples.size] = after_ns - before_ns
        count += 1
        before_ns = after_ns
    return count


@kernel
def malloc_by_batch(byte_count: Int, end_ns: Int, samples: Words, live: Words, clock: Words, clock_address: Int) -> Int:
    """Hold a batch of allocations (in ``live``, uint64[BATCH]), then free them in that order; else as above."""
    count = 0
    before_ns = now_ns(clock, clock_address)
    while before_ns < end_ns:
        for index in range(BATCH):
            address = _malloc(byte_count)
            store_at(address, index)
            live[index] = address
        for index in range(BATCH):
            _free(np.int64(live[index]))
        after_ns = now_ns(clock, clock_address)
        samples[count % samples.size] = after_ns - before_ns
        count += 1
        before_ns = after_ns
    return count
