"""The consumer's side of the ring: selects a batch, copies it out, and commits it. The argument is in ``ring.py``.

Until a batch is committed, a consumer writes to nothing but its own state (``consumer_state.py``) and the caller's body
and frames.
"""

import numpy as np
from numba import types
from numpy.typing import NDArray

from penstock.contract import limits, record
from txqueue.jit.array_types import Bool, Int, Words
from txqueue.jit.atomics import cas, load_acquire, load_relaxed, store_relaxed, store_release
from txqueue.jit.cpu import bit_length, ticks
from txqueue.jit.decorators import BYTES, ROWS, WORDS, entry, kernel
from txqueue.jit.raw_memory import copy_bytes
from txqueue.ring import consumer_state, layout
from txqueue.ring.addressing import add, announces, buffer_of, control_of, frame_words, slot_of

BODY_TOO_SMALL = -1
FENCED = -2

_PRODUCER_MASK = (1 << layout.PRODUCER_BITS) - 1
_NONE = -1


@entry(WORDS, WORDS, BYTES, ROWS, types.int64)
def dequeue(words: Words, state: Words, body: NDArray[np.uint8], frames: Words, limit: Int) -> tuple[Int, Int, Int]:
    """Copies the oldest frames out, and commits them with one compare-and-swap.

    Args:
        words: uint64[:], the whole region.
        state: uint64[:], this consumer's own, for one thread at a time; from ``consumer_state.make``.
        body: uint8[:], receives the records of all frames and directly behind them all payloads.
        frames: uint64[:, 4], receives token, first record, count and payload bytes of each frame.
        limit: int, records at most; the first frame is taken whatever its size.

    Returns:
        Frames, records and payload bytes taken. The frames are FENCED where this consumer has no claim, or has lost it
        to another: then nothing was committed, and body and frames hold nothing of meaning. They are BODY_TOO_SMALL
        where the first frame does not fit: then records and payload bytes are that frame's.
    """
    seen = load_acquire(words, layout.HEAD)
    epoch = np.int64(seen) & layout.EPOCH_MASK
    if epoch != np.int64(state[consumer_state.EPOCH]):
        return FENCED, 0, 0
    head = np.int64(seen) >> layout.EPOCH_BITS
    taken, count, payload_bytes, touched, stamp = _select(words, state, head, body.size, frames, limit)
    if taken == FENCED:
        lost = np.int64(load_acquire(words, layout.HEAD)) & layout.EPOCH_MASK != epoch
        assert lost, "the ring is corrupt: a slot announces a frame that its producer's buffer does not hold"
    if taken > 0:
        _copy(words, body, frames[:taken], count)
        if not cas(words, layout.HEAD, seen, (head + taken) << layout.EPOCH_BITS | epoch):
            return FENCED, 0, 0
        _account(words, state, count, touched, stamp)
    return taken, count, payload_bytes


@kernel
def _select(
    words: Words, state: Words, head: Int, room: Int, frames: Words, limit: Int
) -> tuple[Int, Int, Int, Int, Int]:
    """Moves the cursors over the frames of this batch. The first word of a row is the index of its frame, for now."""
    limit = min(np.int64(limit), np.int64(load_relaxed(words, layout.BOUND)), np.int64(limits.BATCH_SIZE))
    batch = np.int64(state[consumer_state.BATCH_NUMBER]) + 1
    state[consumer_state.BATCH_NUMBER] = batch
    taken: Int = np.int64(0)
    count: Int = np.int64(0)
    payload_bytes: Int = np.int64(0)
    touched: Int = np.int64(_NONE)
    stamp: Int = np.int64(0)
    while taken < frames.shape[0]:
        word = np.int64(load_acquire(words, slot_of(words, head + taken)))
        if not announces(word, head + taken):
            break
        producer = word & _PRODUCER_MASK
        cursor_at = consumer_state.CURSORS + producer * consumer_state.CURSOR_WORDS
        start = np.int64(state[cursor_at + consumer_state.CURSOR_FRAME])
        offset, frame, more, more_bytes = _seek(words, producer, start, word)
        if frame < 0:
            return np.int64(FENCED), count, payload_bytes, touched, stamp
        if (count + more) * record.RECORD_BYTES + payload_bytes + more_bytes > room:
            if taken == 0:
                return np.int64(BODY_TOO_SMALL), more, more_bytes, touched, stamp
            break
        if taken and (count + more > limit or payload_bytes + more_bytes > limits.FRAME_PAYLOAD_BYTES_MAX):
            break
        frames[taken, 0] = frame
        frames[taken, 1] = count
        frames[taken, 2] = more
        frames[taken, 3] = more_bytes
        if np.int64(state[cursor_at + consumer_state.CURSOR_BATCH]) != batch:
            state[cursor_at + consumer_state.CURSOR_BATCH] = batch
            state[cursor_at + consumer_state.CURSOR_LINK] = touched
            touched = producer
        if stamp == 0:
            stamp = np.int64(words[frame + layout.FRAME_STAMP])
        state[cursor_at + consumer_state.CURSOR_FRAME] = offset + frame_words(more, more_bytes)
        state[cursor_at + consumer_state.CURSOR_RECORDS] = words[frame + layout.RECORDS_BEFORE] + np.uint64(more)
        state[cursor_at + consumer_state.CURSOR_PAYLOAD_BYTES] = words[frame + layout.PAYLOAD_BYTES_BEFORE] + np.uint64(
            more_bytes
        )
        taken += 1
        count += more
        payload_bytes += more_bytes
    return taken, count, payload_bytes, touched, stamp


@kernel
def _seek(words: Words, producer: Int, offset: Int, word: Int) -> tuple[Int, Int, Int, Int]:
    """Finds the frame that a slot's word announces.

    It is at the offset, at the buffer's front, or behind frames that another consumer committed.

    Returns:
        Its offset, its index in ``words``, its records and its bytes of payloads. Both counts were read whole, and must
        not be read again: by then they may be overwritten. The index is -1 where another consumer has committed the
        frame, so that it is not there any more.
    """
    control = control_of(words, producer)
    buffer = buffer_of(words, producer)
    buffer_words = np.int64(words[layout.BUFFER_WORDS])
    while True:
        oldest = np.int64(load_acquire(words, control + layout.OLDEST))
        offset = max(offset, oldest)
        if offset == np.int64(load_acquire(words, control + layout.SKIP_FROM)):
            offset = (offset | (buffer_words - 1)) + 1
        frame = buffer + (offset & (buffer_words - 1))
        found = np.int64(load_acquire(words, frame + layout.FRAME_SLOT))
        count = np.int64(load_acquire(words, frame + layout.FRAME_COUNT))
        payload_bytes = np.int64(load_acquire(words, frame + layout.FRAME_PAYLOAD_BYTES))
        if np.int64(load_relaxed(words, control + layout.OLDEST)) > offset:
            continue
        if found == word:
            return offset, frame, count, payload_bytes
        if found > word or offset - oldest > buffer_words or not _is_possible(count, payload_bytes):
            return np.int64(0), np.int64(-1), count, payload_bytes
        offset += frame_words(count, payload_bytes)


@kernel
def _is_possible(count: Int, payload_bytes: Int) -> Bool:
    """Whether a frame can have these counts: what a consumer that lost its claim reads may be anything."""
    return 1 <= count <= limits.BATCH_SIZE and 0 <= payload_bytes <= limits.FRAME_PAYLOAD_BYTES_MAX


@kernel
def _copy(words: Words, body: NDArray[np.uint8], frames: Words, count: Int) -> None:
    payload_at = count * record.RECORD_BYTES
    for row in range(frames.shape[0]):
        frame = np.int64(frames[row, 0])
        more = np.int64(frames[row, 2])
        more_bytes = np.int64(frames[row, 3])
        records = frame + layout.FRAME_HEADER_WORDS
        record_at = np.int64(frames[row, 1]) * record.RECORD_BYTES
        copy_bytes(body, record_at, words, records * 8, more * record.RECORD_BYTES)
        if more_bytes:
            copy_bytes(body, payload_at, words, (records + more * record.RECORD_WORDS) * 8, more_bytes)
            payload_at += more_bytes
        frames[row, 0] = words[frame + layout.FRAME_TOKEN]


@kernel
def _account(words: Words, state: Words, count: Int, touched: Int, stamp: Int) -> None:
    """Tells producers what they may overwrite, and counts.

    What is stored for a producer are totals, not sums to add: where a consumer died or was stopped before this, the
    producer's next frame sets them right.
    """
    while touched != _NONE:
        cursor_at = consumer_state.CURSORS + touched * consumer_state.CURSOR_WORDS
        control = control_of(words, touched)
        store_release(words, control + layout.READ, state[cursor_at + consumer_state.CURSOR_FRAME])
        store_relaxed(words, control + layout.CONSUMED_RECORDS, state[cursor_at + consumer_state.CURSOR_RECORDS])
        store_relaxed(
            words, control + layout.CONSUMED_PAYLOAD_BYTES, state[cursor_at + consumer_state.CURSOR_PAYLOAD_BYTES]
        )
        touched = np.int64(state[cursor_at + consumer_state.CURSOR_LINK])
    add(words, layout.BATCH_SIZES + bit_length(np.uint64(count)), 1)
    if stamp:
        dwell = max(np.int64(ticks()) - stamp, np.int64(0))  # clocks of two processors may differ by a little
        add(words, layout.DWELLS + min(bit_length(np.uint64(dwell)), np.int64(layout.DWELL_BUCKETS - 1)), 1)
