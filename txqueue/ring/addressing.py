"""Addressing within a ring's region, in compiled code: from producers and positions to indices of words."""

import numpy as np

from txqueue.jit.array_types import Bool, Int, Words
from txqueue.jit.atomics import load_acquire, store_relaxed
from txqueue.jit.decorators import kernel
from txqueue.ring import layout

frame_words = kernel(layout.frame_words)


@kernel
def control_of(words: Words, producer: Int) -> Int:
    """Index of a producer's control block."""
    return np.int64(words[layout.CONTROLS_AT]) + producer * layout.CONTROL_WORDS


@kernel
def buffer_of(words: Words, producer: Int) -> Int:
    """Index of a producer's buffer."""
    return np.int64(words[layout.BUFFERS_AT]) + producer * np.int64(words[layout.BUFFER_WORDS])


@kernel
def slot_of(words: Words, position: Int) -> Int:
    """Index of the slot that a position falls on."""
    return np.int64(words[layout.SLOTS_AT]) + (position & (np.int64(words[layout.SLOTS]) - 1))


@kernel
def head_position(words: Words) -> Int:
    """The position of the oldest frame not committed."""
    return np.int64(load_acquire(words, layout.HEAD)) >> layout.EPOCH_BITS


@kernel
def announces(word: Int, position: Int) -> Bool:
    """Whether a slot's word is that of this position, whoever the producer is."""
    return (word ^ (position << layout.PRODUCER_BITS)) >> layout.PRODUCER_BITS == 0


@kernel
def add(words: Words, index: Int, amount: Int) -> None:
    """Adds to a counter that has one writer."""
    store_relaxed(words, index, np.int64(words[index]) + amount)
