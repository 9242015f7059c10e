"""Finding one's way in a ring's region, in compiled code; :mod:`txqueue.ring.layout` says what stands there."""

import numpy as np
from numpy.typing import NDArray

from txqueue.jit.atomics import load_acquire, store_relaxed
from txqueue.jit.decorators import kernel
from txqueue.ring import layout

Words = NDArray[np.uint64]
Int = int | np.int64
Bool = bool | np.bool


@kernel
def control_of(words: Words, producer: Int) -> Int:
    """A producer's control block."""
    return np.int64(words[layout.CONTROLS_AT]) + producer * layout.CONTROL_WORDS


@kernel
def area_of(words: Words, producer: Int) -> Int:
    """A producer's area."""
    return np.int64(words[layout.AREAS_AT]) + producer * np.int64(words[layout.AREA_WORDS])


@kernel
def slot_of(words: Words, position: Int) -> Int:
    """The slot that a position falls on."""
    return np.int64(words[layout.SLOTS_AT]) + (position & (np.int64(words[layout.SLOTS]) - 1))


@kernel
def head_position(words: Words) -> Int:
    """The position of the oldest frame not handed on."""
    return np.int64(load_acquire(words, layout.HEAD)) >> layout.EPOCH_BITS


@kernel
def frame_words(count: Int, payload_bytes: Int) -> Int:
    """Words that a frame takes of an area: header, records, payloads, in whole lines."""
    return layout.FRAME_HEADER_WORDS + count * 8 + ((payload_bytes + 63) >> 6) * layout.LINE_WORDS


@kernel
def announces(word: Int, position: Int) -> Bool:
    """Whether a slot's word is that of this position, whoever the producer is."""
    return (word ^ (position << layout.PRODUCER_BITS)) >> layout.PRODUCER_BITS == 0


@kernel
def add(words: Words, index: Int, amount: Int) -> None:
    """Adds to a counter that has one writer."""
    store_relaxed(words, index, np.int64(words[index]) + amount)
