"""The consumer's wait, in compiled code: looking for a frame, and the mark that it sleeps. ring.py has the argument."""

import numpy as np
from numba import types

from txqueue.jit.atomics import cas, load_acquire, load_relaxed, load_seq_cst, pause
from txqueue.jit.decorators import WORDS, entry, kernel
from txqueue.ring import layout
from txqueue.ring.ring_addressing import Bool, Int, Words, add, announces, slot_of

READY = 1
"""A frame waits."""
NOTHING = 0
INTERRUPTED = 2
"""Somebody asked the consumer to return."""
PARKED = 3
"""The caller must sleep on the word PARKED while it holds ``kept[KEPT_PARKED]``, then look again."""

_FEW_RECORDS = 64
_GATHERING_PAUSES = 200


@entry(WORDS, WORDS, types.int64, types.int64)
def look(words: Words, kept: Words, rounds: Int, parks: Int) -> Int:
    """Looks for a frame.

    Args:
        words: uint64[:], the whole region.
        kept: uint64[:], the consumer's own, as in ``ring_consumer.dequeue``.
        rounds: int, how often to look, a processor's pause apart.
        parks: int, 1 to announce, where there is none, that the consumer goes to sleep.

    Returns:
        READY, INTERRUPTED, PARKED or NOTHING. Whatever was announced before is taken back first.
    """
    _take_mark_back(words, kept)
    for _ in range(rounds):
        if _is_ready(words):
            return READY
        if load_relaxed(words, layout.INTERRUPTS) != kept[layout.KEPT_INTERRUPTS]:
            kept[layout.KEPT_INTERRUPTS] = load_acquire(words, layout.INTERRUPTS)
            return INTERRUPTED
        pause()
    if not parks or not _marks_itself(words, kept):
        return NOTHING
    if _is_ready(words) or load_seq_cst(words, layout.INTERRUPTS) != kept[layout.KEPT_INTERRUPTS]:
        _take_mark_back(words, kept)
        return NOTHING
    add(words, layout.PARKS, 1)
    return PARKED


@kernel
def let_gather(count: Int) -> None:
    """Waits some microseconds after a batch of few records, so that producers get ahead: as long as 200 pauses take,
    which is 1 to 10 by the processor.

    For compiled consumers, which else look again sooner than a line travels between cores. The processor of one that
    stays right behind its producer fetches the lines that the producer is about to write, and each frame waits for them
    to come back: measured on distant cores, a third of the throughput and fifteen times the producer's time per record.

    Args:
        count: int, records of the batch handed on last.
    """
    if 0 < count < _FEW_RECORDS:
        for _ in range(_GATHERING_PAUSES):
            pause()


@kernel
def _is_ready(words: Words) -> Bool:
    head = np.int64(load_acquire(words, layout.HEAD)) >> layout.EPOCH_BITS
    return announces(np.int64(load_seq_cst(words, slot_of(words, head))), head)


@kernel
def _marks_itself(words: Words, kept: Words) -> Bool:
    """Stores the consumer's mark, unless another has taken over."""
    epoch = np.int64(kept[layout.KEPT_EPOCH])
    while True:
        before = load_seq_cst(words, layout.PARKED)
        # In this order: a successor's mark is never replaced, as its epoch is in HEAD before its mark is here.
        if np.int64(load_seq_cst(words, layout.HEAD)) & layout.EPOCH_MASK != epoch:
            return False
        if cas(words, layout.PARKED, before, np.uint64(epoch + 1)):
            kept[layout.KEPT_PARKED] = np.uint64(epoch + 1)
            return True


@kernel
def _take_mark_back(words: Words, kept: Words) -> None:
    if kept[layout.KEPT_PARKED] != layout.AWAKE:
        cas(words, layout.PARKED, kept[layout.KEPT_PARKED], layout.AWAKE)
        kept[layout.KEPT_PARKED] = layout.AWAKE
