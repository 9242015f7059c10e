"""Polling a ring, in compiled code: the consumer's look for a frame, and its mark that it sleeps.

What a consumer does between two polls is its wait strategy's business. The argument for the mark is in ``ring.py``.
"""

import numpy as np
from numba import types

from txqueue.jit.array_types import Bool, Int, Words
from txqueue.jit.atomics import cas, load_acquire, load_relaxed, load_seq_cst
from txqueue.jit.cpu import pause
from txqueue.jit.decorators import WORDS, entry, kernel
from txqueue.ring import consumer_state, layout
from txqueue.ring.addressing import add, announces, head_position, slot_of
from txqueue.ring.wait_strategy import EMPTY, INTERRUPTED, READY

PARKED = 3
"""The caller must sleep on the word PARKED while it holds ``state[PARKED_MARK]``, then poll again."""

_SMALL_BATCH_RECORDS = 64
_PAUSES = 200


@entry(WORDS, WORDS, types.int64, types.int64)
def poll(words: Words, state: Words, rounds: Int, parks: Int) -> Int:
    """Looks for a frame.

    Args:
        words: uint64[:], the whole region.
        state: uint64[:], the consumer's own; ``consumer_state.py`` says what it holds.
        rounds: int, how often to look, a processor's pause apart.
        parks: int, 1 to mark, where there is no frame, that the consumer goes to sleep.

    Returns:
        READY, INTERRUPTED, PARKED or EMPTY. A mark of an earlier call is withdrawn first.
    """
    _withdraw_mark(words, state)
    for _ in range(rounds):
        if _is_ready(words):
            return READY
        if load_relaxed(words, layout.INTERRUPTS) != state[consumer_state.INTERRUPTS_SEEN]:
            state[consumer_state.INTERRUPTS_SEEN] = load_acquire(words, layout.INTERRUPTS)
            return INTERRUPTED
        pause()
    if not parks or not _store_mark(words, state):
        return EMPTY
    if _is_ready(words) or load_seq_cst(words, layout.INTERRUPTS) != state[consumer_state.INTERRUPTS_SEEN]:
        _withdraw_mark(words, state)
        return EMPTY
    add(words, layout.PARKS, 1)
    return PARKED


@kernel
def pause_after_small_batch(count: Int) -> None:
    """Waits some microseconds after a batch of few records, so that producers get ahead.

    As long as 200 pauses take, which is 1 to 10 by the processor.

    For compiled consumers, which would else look again sooner than a line travels between cores. The processor of one
    that stays right behind its producer fetches the lines that the producer is about to write, and each frame waits for
    them to come back: measured on distant cores, a third of the throughput and fifteen times the producer's time per
    record.

    Args:
        count: int, records of the batch committed last.
    """
    if 0 < count < _SMALL_BATCH_RECORDS:
        for _ in range(_PAUSES):
            pause()


@kernel
def _is_ready(words: Words) -> Bool:
    head = head_position(words)
    return announces(np.int64(load_seq_cst(words, slot_of(words, head))), head)


@kernel
def _store_mark(words: Words, state: Words) -> Bool:
    """Stores the consumer's mark, unless another consumer has taken over."""
    epoch = np.int64(state[consumer_state.EPOCH])
    while True:
        before = load_seq_cst(words, layout.PARKED)
        # In this order: a successor's mark is never replaced, as its epoch is in HEAD before its mark is here.
        if np.int64(load_seq_cst(words, layout.HEAD)) & layout.EPOCH_MASK != epoch:
            return False
        if cas(words, layout.PARKED, before, np.uint64(epoch + 1)):
            state[consumer_state.PARKED_MARK] = np.uint64(epoch + 1)
            return True


@kernel
def _withdraw_mark(words: Words, state: Words) -> None:
    if state[consumer_state.PARKED_MARK] != layout.AWAKE:
        cas(words, layout.PARKED, state[consumer_state.PARKED_MARK], layout.AWAKE)
        state[consumer_state.PARKED_MARK] = layout.AWAKE
