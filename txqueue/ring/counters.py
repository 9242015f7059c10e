"""Counters of what goes through a ring, and the batch bound that follows them. Each counter has one writer."""

import numpy as np

from penstock.contract.limits import BATCH_SIZE
from txqueue.jit.array_types import Int, Words
from txqueue.jit.atomics import load_relaxed, store_relaxed
from txqueue.jit.cpu import ticks
from txqueue.jit.decorators import WORDS, entry, kernel
from txqueue.ring import consumer_state, layout
from txqueue.ring.addressing import control_of

(
    ENQUEUED,
    DEQUEUED,
    FRAMES_ENQUEUED,
    FRAMES_DEQUEUED,
    PAYLOAD_BYTES_ENQUEUED,
    PAYLOAD_BYTES_DEQUEUED,
    CLAIMS,
    REFUSED,
    RETRIES,
    PADDING,
    DEAD_CLAIMS,
    PRODUCERS,
    TICKS,
    TOTALS,
) = range(14)


@entry(WORDS, WORDS)
def total(words: Words, totals: Words) -> None:
    """Sums the producers' counters into ``totals``, uint64[TOTALS], by the indices above; TICKS is the time now.

    Any process may call it.
    """
    for index in range(TOTALS):
        totals[index] = 0
    for producer in range(np.int64(load_relaxed(words, layout.PRODUCERS_USED))):
        control = control_of(words, producer)
        _pair(words, control + layout.CONSUMED_RECORDS, control + layout.PUBLISHED_RECORDS, totals, ENQUEUED)
        _pair(
            words,
            control + layout.CONSUMED_PAYLOAD_BYTES,
            control + layout.PUBLISHED_PAYLOAD_BYTES,
            totals,
            PAYLOAD_BYTES_ENQUEUED,
        )
        totals[CLAIMS] += load_relaxed(words, control + layout.CLAIMS)
        totals[REFUSED] += load_relaxed(words, control + layout.REFUSED)
        totals[RETRIES] += load_relaxed(words, control + layout.RETRIES)
        totals[PADDING] += load_relaxed(words, control + layout.PADDING)
        totals[DEAD_CLAIMS] += load_relaxed(words, control + layout.DEAD_CLAIMS)
        if load_relaxed(words, control + layout.OWNER) != 0:
            totals[PRODUCERS] += np.uint64(1)
    slots = load_relaxed(words, layout.SLOTS)  # positions begin with the second lap
    head = load_relaxed(words, layout.HEAD) >> np.uint64(layout.EPOCH_BITS)
    totals[FRAMES_DEQUEUED] = head - slots
    totals[FRAMES_ENQUEUED] = max(load_relaxed(words, layout.TAIL), head) - slots  # the tail may be one behind
    totals[TICKS] = ticks()


@kernel
def _pair(words: Words, consumed_at: Int, published_at: Int, totals: Words, index: Int) -> None:
    """Adds what was published and what was consumed. A frame can be consumed just before it is counted as published."""
    consumed = load_relaxed(words, consumed_at)
    totals[index] += max(consumed, load_relaxed(words, published_at))
    totals[index + 1] += consumed


@entry(WORDS, WORDS, WORDS)
def rebalance(words: Words, state: Words, totals: Words) -> Int:
    """Adapts the batch bound, for the consumer to call once per batch.

    The bound is twice what arrived since the last call, or twice what still waits, whichever is more: a slow batch
    leaves more arrivals behind, so the bound follows the pace of the stages behind the ring. It grows at once, so that
    a burst is met with full batches, and at most halves per call, so that a pause between two bursts does not undo it.

    Args:
        words: uint64[:], the whole region.
        state: uint64[:], the consumer's own, as in ``dequeue``.
        totals: uint64[TOTALS], overwritten.

    Returns:
        The bound, in records.
    """
    total(words, totals)
    enqueued = np.int64(totals[ENQUEUED])
    arrived = enqueued - np.int64(state[consumer_state.ENQUEUED_SEEN])
    # A consumer that died may never have counted the last records that it committed.
    is_empty = totals[FRAMES_ENQUEUED] == totals[FRAMES_DEQUEUED]
    waiting = np.int64(0) if is_empty else enqueued - np.int64(totals[DEQUEUED])
    halved = np.int64(words[layout.BOUND]) >> 1
    bound = min(max(2 * arrived, 2 * waiting, halved, np.int64(layout.BOUND_MIN)), np.int64(BATCH_SIZE))
    state[consumer_state.ENQUEUED_SEEN] = enqueued
    store_relaxed(words, layout.BOUND, bound)
    return bound
