"""The consumer's side of the ring: taking a batch exclusively, and handing it on. The argument is in ring.py.

Until a batch is handed on, a consumer writes to nothing but the array that it *keeps* to itself
(``ring_layout.KEPT_...``), the caller's body and frames.
"""

import numpy as np
from numba import types
from numpy.typing import NDArray

from penstock.contract import limits, record
from txqueue.jit.atomics import cas, load_acquire, load_relaxed, memcpy, store_relaxed, store_release
from txqueue.jit.cpu import bit_length, ticks
from txqueue.jit.decorators import BYTES, ROWS, WORDS, entry, kernel
from txqueue.ring import layout
from txqueue.ring.ring_addressing import Bool, Int, Words, add, announces, area_of, control_of, frame_words, slot_of

BODY_TOO_SMALL = -1
FENCED = -2

_PRODUCER_MASK = (1 << layout.PRODUCER_BITS) - 1
_NONE = -1


@entry(WORDS, WORDS, BYTES, ROWS, types.int64)
def dequeue(words: Words, kept: Words, body: NDArray[np.uint8], frames: Words, limit: Int) -> tuple[Int, Int, Int]:
    """Takes the oldest frames, copies them out, and hands them on with one compare-and-swap.

    Args:
        words: uint64[:], the whole region.
        kept: uint64[KEPT_PRODUCERS + producers * KEPT_WORDS], this consumer's own, for one thread at a time; from
            ``consumer.py``.
        body: uint8[:], receives the records of all frames and directly behind them all payloads.
        frames: uint64[:, 4], receives token, first record, count and payload bytes of each frame.
        limit: int, records at most; the first frame is taken whatever its size.

    Returns:
        Frames, records and payload bytes taken. Instead of frames: FENCED where this consumer has no claim, or has lost
        it to another: nothing was handed on, and body and frames hold nothing of meaning; or BODY_TOO_SMALL where the
        first frame does not fit, then with its records and payload bytes.
    """
    seen = load_acquire(words, layout.HEAD)
    epoch = np.int64(seen) & layout.EPOCH_MASK
    if epoch != np.int64(kept[layout.KEPT_EPOCH]):
        return FENCED, 0, 0
    head = np.int64(seen) >> layout.EPOCH_BITS
    taken, count, payload_bytes, touched, stamp = _select(words, kept, head, body.size, frames, limit)
    if taken == FENCED:
        lost = np.int64(load_acquire(words, layout.HEAD)) & layout.EPOCH_MASK != epoch
        assert lost, "the ring is corrupt: a slot announces a frame that its producer's area does not hold"
    if taken > 0:
        _copy(words, body, frames[:taken], count)
        if not cas(words, layout.HEAD, seen, (head + taken) << layout.EPOCH_BITS | epoch):
            return FENCED, 0, 0
        _account(words, kept, count, touched, stamp)
    return taken, count, payload_bytes


@kernel
def _select(
    words: Words, kept: Words, head: Int, room: Int, frames: Words, limit: Int
) -> tuple[Int, Int, Int, Int, Int]:
    """Moves the cursors over the frames that go into this batch. Leaves in a row where its frame stands, for now."""
    limit = min(np.int64(limit), np.int64(load_relaxed(words, layout.BOUND)), np.int64(limits.BATCH_SIZE))
    batch = np.int64(kept[layout.KEPT_BATCH]) + 1
    kept[layout.KEPT_BATCH] = batch
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
        own = layout.KEPT_PRODUCERS + producer * layout.KEPT_WORDS
        cursor, frame, more, more_bytes = _seek(words, producer, np.int64(kept[own + layout.KEPT_CURSOR]), word)
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
        if np.int64(kept[own + layout.KEPT_TOUCHED]) != batch:
            kept[own + layout.KEPT_TOUCHED] = batch
            kept[own + layout.KEPT_NEXT] = touched
            touched = producer
        if stamp == 0:
            stamp = np.int64(words[frame + layout.FRAME_STAMP])
        kept[own + layout.KEPT_CURSOR] = cursor + frame_words(more, more_bytes)
        kept[own + layout.KEPT_RECORDS] = words[frame + layout.RECORDS_BEFORE] + np.uint64(more)
        kept[own + layout.KEPT_PAYLOAD_BYTES] = words[frame + layout.PAYLOAD_BYTES_BEFORE] + np.uint64(more_bytes)
        taken += 1
        count += more
        payload_bytes += more_bytes
    return taken, count, payload_bytes, touched, stamp


@kernel
def _seek(words: Words, producer: Int, cursor: Int, word: Int) -> tuple[Int, Int, Int, Int]:
    """Finds the frame that a slot's word announces: at the cursor, at the area's front, or behind frames that another
    consumer handed on.

    Returns:
        Its place, counted like WRITE, its index in ``words``, its records and bytes of payloads: whole, and not to be
        read again, since by then they may be overwritten. The index is -1 where the frame is not there, as another
        consumer has handed it on.
    """
    control = control_of(words, producer)
    area = area_of(words, producer)
    area_words = np.int64(words[layout.AREA_WORDS])
    while True:
        oldest = np.int64(load_acquire(words, control + layout.OLDEST))
        cursor = max(cursor, oldest)
        if cursor == np.int64(load_acquire(words, control + layout.SKIP_FROM)):
            cursor = (cursor | (area_words - 1)) + 1
        frame = area + (cursor & (area_words - 1))
        found = np.int64(load_acquire(words, frame + layout.FRAME_SLOT))
        count = np.int64(load_acquire(words, frame + layout.FRAME_COUNT))
        payload_bytes = np.int64(load_acquire(words, frame + layout.FRAME_PAYLOAD_BYTES))
        if np.int64(load_relaxed(words, control + layout.OLDEST)) > cursor:
            continue
        if found == word:
            return cursor, frame, count, payload_bytes
        if found > word or cursor - oldest > area_words or not _is_possible(count, payload_bytes):
            return np.int64(0), np.int64(-1), count, payload_bytes
        cursor += frame_words(count, payload_bytes)


@kernel
def _is_possible(count: Int, payload_bytes: Int) -> Bool:
    """Whether a frame can have these counts. What a consumer without a claim reads may be anything."""
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
        memcpy(body, record_at, words, records * 8, more * record.RECORD_BYTES)
        if more_bytes:
            memcpy(body, payload_at, words, (records + more * record.RECORD_WORDS) * 8, more_bytes)
            payload_at += more_bytes
        frames[row, 0] = words[frame + layout.FRAME_TOKEN]


@kernel
def _account(words: Words, kept: Words, count: Int, touched: Int, stamp: Int) -> None:
    """Tells producers what they may overwrite, and counts. All that is stored for a producer is absolute: where a
    consumer died or was stopped before this, the producer's next frame sets it right.
    """
    while touched != _NONE:
        own = layout.KEPT_PRODUCERS + touched * layout.KEPT_WORDS
        control = control_of(words, touched)
        store_release(words, control + layout.READ, kept[own + layout.KEPT_CURSOR])
        store_relaxed(words, control + layout.CONSUMED_RECORDS, kept[own + layout.KEPT_RECORDS])
        store_relaxed(words, control + layout.CONSUMED_PAYLOAD_BYTES, kept[own + layout.KEPT_PAYLOAD_BYTES])
        touched = np.int64(kept[own + layout.KEPT_NEXT])
    add(words, layout.BATCH_SIZES + bit_length(np.uint64(count)), 1)
    if stamp:
        dwell = max(np.int64(ticks()) - stamp, np.int64(0))  # clocks of two processors may differ by a little
        add(words, layout.DWELLS + min(bit_length(np.uint64(dwell)), np.int64(layout.DWELL_BUCKETS - 1)), 1)
