"""The ring: a queue of frames from any number of producers to one consumer, without a lock, in compiled code.

Each producer has a *buffer* of its own, first in first out, and writes frames into it without asking anyone. A claim is
therefore private: one that is never published, because its producer failed or died, is simply overwritten. A frame is
published by one word that names its position and its producer, stored into one of the *slots* that all producers share.
So nothing that a producer does or fails to do between two publications can be seen by anybody else, or can stall
anybody. The consumer commits a batch, which takes its frames out of the ring, by moving one word, HEAD.

**Publishing.** The rule for the tail is Michael and Scott's ("Simple, Fast, and Practical Non-Blocking and Blocking
Concurrent Queue Algorithms", PODC 1996). To publish at position ``t``, a producer finds the word of position
``t - slots`` in slot ``t & mask`` and replaces it by compare-and-swap. Only then is the tail moved from ``t`` to
``t + 1``, by whoever comes first: where a producer dies between the two steps, the next one finds the slot filled and
moves the tail on itself. A compare-and-swap fails only because another producer's has succeeded, so the system as a
whole always progresses. Words are unique for 2^47 frames, so a compare-and-swap with a stale word cannot succeed.

**Why a publication never waits for room.** A claim is granted only while at least as many slots are free as there are
producers, and a producer holds one claim at a time. Even if all of them publish before the next claim looks, there is
room.

**Committing.** HEAD holds a position and the *epoch* of the consumer that may move it. The consumer selects frames and
copies them out without writing anything shared, then moves HEAD past the batch by one compare-and-swap. That instant is
the commit, and there is no other. Taking over is a compare-and-swap on the same word, which raises the epoch and leaves
the position. So of two consumers that hold copies of the same frames exactly one commits them. The other's epoch is out
of date, its compare-and-swap fails, and it has spoilt nothing. (An epoch has 16 bits: to be taken for the present
consumer, one would have to be stopped while 65,536 others took over and none of them committed anything.)

**What may be overwritten.** A frame whose position is below HEAD; nothing else counts. READ, which the consumer stores
after HEAD, is a hint: it spares the producer from looking at its frames one by one. It lags behind for ever where the
consumer died before it stored it. So a producer that finds no room by READ walks its own frames up to HEAD before it
refuses a claim. Before it overwrites anything, it moves OLDEST beyond it. A consumer that has just taken over knows no
offset in the buffers: it walks from OLDEST, reads a frame's header, then looks at OLDEST again. If that has passed the
frame, the header may be torn, and the consumer starts again (a sequence lock).

**Order of stores.** A frame is written before the compare-and-swap on its slot, and the consumer loads the slot before
the frame: it sees the whole frame. The consumer copies frames out before it moves HEAD, and stores READ after that;
producers acquire HEAD or READ before they write again: nothing is overwritten before it was copied. OLDEST is stored
before what lies below it is overwritten, and loaded after a header was: a header that passes this test is whole.

**A producer of a dead process** is given to another process only when its owner is dead or has left, and when no slot
from HEAD to the tail announces a frame of it. The new owner begins a fresh lap of the buffer, beyond whatever the old
one may have published last, and moves OLDEST there, to which consumers jump.

**Parking.** The consumer stores its epoch into PARKED, then looks at the slot again. A producer fills the slot, then
looks at PARKED. All four accesses are sequentially consistent, so at least one of the two sees the other (Dekker). A
consumer that has lost its claim cannot undo its successor's mark: it only ever replaces its own.
"""

import numpy as np
from numba import types
from numpy.typing import NDArray

from penstock.contract import limits, record
from txqueue.jit.array_types import Bool, Int, Words
from txqueue.jit.atomics import cas, load_acquire, load_seq_cst, store_release
from txqueue.jit.cpu import pause, ticks
from txqueue.jit.decorators import BYTES_IN, ROWS_IN, WORDS, entry, kernel
from txqueue.jit.raw_memory import copy_bytes, prefetch_to_write
from txqueue.region.cache_line import LINE_WORDS
from txqueue.ring import layout
from txqueue.ring.addressing import (
    add,
    announces,
    buffer_of,
    control_of,
    frame_words,
    head_position,
    slot_of,
)
from txqueue.ring.producer_buffer import find_room, prefetch_ahead

FULL = -1
TOO_LARGE = -2
NOT_RECORDS = -3
NOTHING_CLAIMED = -4

STAMP_EVERY = 16
"""One in so many claims of a producer is stamped with the time: reading the clock costs ten nanoseconds."""


@kernel
def claim(words: Words, producer: Int, count: Int, payload_bytes: Int) -> Int:
    """Finds room for a frame in the producer's buffer, which stays private to the producer until it is published.

    Write ``count * 8`` words of records from the returned index on, and the payloads directly behind them; then
    :func:`publish`. To abort, do not publish: the next claim gets the same room.

    Args:
        words: uint64[:], the whole region.
        producer: int, index of a producer that the caller has registered and that no other thread uses.
        count: int, records, at least 1.
        payload_bytes: int, all payloads together.

    Returns:
        Index into ``words`` of the first record; or FULL, or TOO_LARGE where such a frame never fits.
    """
    control = control_of(words, producer)
    buffer_words = np.int64(words[layout.BUFFER_WORDS])
    need = frame_words(count, payload_bytes)
    if need > buffer_words or count > limits.BATCH_SIZE or payload_bytes > limits.FRAME_PAYLOAD_BYTES_MAX:
        return TOO_LARGE
    start = find_room(words, producer, control, need) if _has_slot(words, control) else np.int64(FULL)
    if start < 0:
        add(words, control + layout.REFUSED, 1)
        return FULL
    words[control + layout.CLAIM] = start + need
    add(words, control + layout.CLAIMS, 1)
    frame = buffer_of(words, producer) + (start & (buffer_words - 1))
    words[frame + layout.FRAME_COUNT] = count
    words[frame + layout.FRAME_PAYLOAD_BYTES] = payload_bytes
    words[frame + layout.RECORDS_BEFORE] = words[control + layout.PUBLISHED_RECORDS]
    words[frame + layout.PAYLOAD_BYTES_BEFORE] = words[control + layout.PUBLISHED_PAYLOAD_BYTES]
    stamped = np.int64(words[control + layout.CLAIMS]) & (STAMP_EVERY - 1) == 1
    words[frame + layout.FRAME_STAMP] = ticks() if stamped else np.uint64(0)
    prefetch_ahead(words, producer, start + need, need)
    return frame + layout.FRAME_HEADER_WORDS


@kernel
def _has_slot(words: Words, control: Int) -> Bool:
    limit = np.int64(words[layout.SLOTS]) - np.int64(words[layout.PRODUCERS])
    tail = np.int64(load_acquire(words, layout.TAIL))
    if tail - np.int64(words[control + layout.HEAD_CACHE]) < limit:
        return True
    head = head_position(words)
    words[control + layout.HEAD_CACHE] = head
    return tail - head < limit


@kernel
def publish(words: Words, producer: Int, token: Int) -> Int:
    """Publishes the frame claimed last.

    Args:
        words: uint64[:], the whole region.
        producer: int, as in :func:`claim`.
        token: int64, comes back with the frame.

    Returns:
        1 where the consumer is parked and the caller must wake it, 0 where not, or NOTHING_CLAIMED.
    """
    control = control_of(words, producer)
    slots = np.int64(words[layout.SLOTS])
    buffer_words = np.int64(words[layout.BUFFER_WORDS])
    start = np.int64(words[control + layout.WRITE])
    end = np.int64(words[control + layout.CLAIM])
    if end == start:
        return NOTHING_CLAIMED
    frame = buffer_of(words, producer) + (start & (buffer_words - 1))
    words[frame + layout.FRAME_TOKEN] = token
    while True:
        tail = np.int64(load_acquire(words, layout.TAIL))
        slot = slot_of(words, tail)
        word = np.int64(load_acquire(words, slot))
        if announces(word, tail):  # filled; its producer has not moved the tail on yet, or never will
            cas(words, layout.TAIL, tail, tail + 1)
        elif announces(word, tail - slots):
            if tail - np.int64(words[control + layout.HEAD_CACHE]) >= slots:
                words[control + layout.HEAD_CACHE] = head_position(words)
                pause()  # hardly ever: a claim leaves room, and the last one refreshed HEAD_CACHE
                continue
            announcement = tail << layout.PRODUCER_BITS | producer
            words[frame + layout.FRAME_SLOT] = announcement
            if cas(words, slot, word, announcement):
                break
            add(words, control + layout.RETRIES, 1)
    cas(words, layout.TAIL, tail, tail + 1)
    prefetch_to_write(words, slot_of(words, tail + 2 * LINE_WORDS))
    store_release(words, control + layout.WRITE, end)
    add(words, control + layout.PUBLISHED_RECORDS, np.int64(words[frame + layout.FRAME_COUNT]))
    add(words, control + layout.PUBLISHED_PAYLOAD_BYTES, np.int64(words[frame + layout.FRAME_PAYLOAD_BYTES]))
    parked = load_seq_cst(words, layout.PARKED)
    return 1 if parked != layout.AWAKE and cas(words, layout.PARKED, parked, layout.AWAKE) else 0


@entry(WORDS, types.int64, ROWS_IN, BYTES_IN, types.int64)
def enqueue(words: Words, producer: Int, records: Words, payloads: NDArray[np.uint8], token: Int) -> Int:
    """Claims, copies and publishes one frame.

    Args:
        words: uint64[:], the whole region.
        producer: int, as in :func:`claim`.
        records: uint64[n, 8].
        payloads: uint8[m], the records' payloads one after the other.
        token: int64, comes back with the frame.

    Returns:
        As :func:`publish`; or FULL, TOO_LARGE, or NOT_RECORDS where there are none or they are not 8 words each.
    """
    count = records.shape[0]
    if count == 0 or records.shape[1] != record.RECORD_WORDS:
        return NOT_RECORDS
    first = claim(words, producer, count, payloads.size)
    if first < 0:
        return first
    copy_bytes(words, first * 8, records, 0, count * record.RECORD_BYTES)
    if payloads.size:
        copy_bytes(words, (first + count * record.RECORD_WORDS) * 8, payloads, 0, payloads.size)
    return publish(words, producer, token)
