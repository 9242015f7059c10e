"""Compiled loops over an arena's kernels, the same as ``malloc_loops`` has over ``malloc``."""

import numpy as np

from loadtest.bench.pool.malloc_loops import BATCH, Int, Words, now_ns
from pooling.arena.kernel.operations import allocate, first_word, free
from txqueue.jit.decorators import kernel

REFUSED = -1
"""The arena had no room, or did not take a slot back."""


@kernel
def arena_one_by_one(
    words: Words, holder: Int, byte_count: Int, end_ns: Int, samples: Words, clock: Words, clock_address: Int
) -> Int:
    """Free every slot at once. Writes each batch's time to ``samples`` (uint64[n]), cyclically, until ``end_ns``.

    Returns:
        The number of batches, or REFUSED.
    """
    count = 0
    before_ns = now_ns(clock, clock_address)
    while before_ns < end_ns:
        for index in range(BATCH):
            handle = allocate(words, holder, byte_count)
            if handle < 0:
                return REFUSED
            words[first_word(words, handle)] = index
            if free(words, holder, handle) != 0:
                return REFUSED
        after_ns = now_ns(clock, clock_address)
        samples[count % samples.size] = after_ns - before_ns
        count += 1
        before_ns = after_ns
    return count


@kernel
def arena_by_batch(
    words: Words,
    holder: Int,
    byte_count: Int,
    end_ns: Int,
    samples: Words,
    live: Words,
    clock: Words,
    clock_address: Int,
) -> Int:
    """Hold a batch of slots (in ``live``, uint64[BATCH]), then free them in that order; else as above."""
    count = 0
    before_ns = now_ns(clock, clock_address)
    while before_ns < end_ns:
        for index in range(BATCH):
            handle = allocate(words, holder, byte_count)
            if handle < 0:
                return REFUSED
            words[first_word(words, handle)] = index
            live[index] = handle
        for index in range(BATCH):
            if free(words, holder, np.int64(live[index])) != 0:
                return REFUSED
        after_ns = now_ns(clock, clock_address)
        samples[count % samples.size] = after_ns - before_ns
        count += 1
        before_ns = after_ns
    return count
