"""The ring: frames from any number of producers to one consumer, without a lock, in compiled code.

Each producer owns an *area*, a private first-in-first-out buffer, and writes frames into it without asking anyone: a
claim is not shared, and one that never gets published, because its producer failed or died, is simply overwritten.
A frame is published by one word, its position and its producer, put into the *slots* that all producers share. So
nothing that a producer does or fails to do between two publications can be seen by, or can stall, anybody else.

**Publishing** (the tail's rule is Michael and Scott, "Simple, Fast, and Practical Non-Blocking and Blocking Concurrent
Queue Algorithms", PODC 1996). Slot ``t & mask`` must hold the word of position ``t - slots``; it is replaced by
compare-and-swap, and only then is the tail moved from ``t`` to ``t + 1``, by whoever comes first. A producer that dies
between the two leaves a tail one behind; the next one finds the slot filled and moves the tail on first. A failed
compare-and-swap means that another producer's succeeded: the system as a whole always progresses. Words are unique for
2^47 frames, so no stale compare-and-swap can succeed.

**Why a publication never waits for room.** A claim is granted only while as many slots are free as there are producers
besides, and a producer holds one claim at a time: at most all of them publish before the next claim looks.

**Order of stores.** The frame is written before the slot's compare-and-swap, and the consumer loads the slot before
the frame: it sees the whole frame. The consumer copies out before it releases HEAD (slots) and READ (areas), and
producers acquire these before they write again: nothing is overwritten before it was copied. HEAD is released in one
store for the whole batch, and before READ: that store is the moment at which the batch is handed on.

**Parking.** The consumer stores PARKED, then looks at the slot once more; a producer fills the slot, then looks at
PARKED. All four are sequentially consistent, so at least one of the two sees the other (Dekker).
"""

import numpy as np
from numba import types
from numpy.typing import NDArray

from txqueue import record
from txqueue import ring_layout as layout
from txqueue.atomics import cas, load_acquire, load_seq_cst, memcpy, pause, store_relaxed, store_release
from txqueue.compiled import BYTES_IN, ROWS_IN, WORDS, entry, kernel
from txqueue.ring_places import Bool, Int, Words, add, announces, area_of, control_of, frame_words, slot_of

FULL = -1
TOO_LARGE = -2
NOT_RECORDS = -3
NOTHING_CLAIMED = -4

_FRONT_SHIFT = 2
"""An area goes back to its front once a quarter of it is behind the consumer."""
_REFRESH_SHIFT = 13
"""A producer looks at the consumer's line once in so many words (64 KiB) of its area."""


@kernel
def claim(words: Words, producer: Int, count: Int, payload_bytes: Int) -> Int:
    """Finds room for a frame in the producer's area: private to the producer, and void until it is published.

    Write ``count * 8`` words of records from the word returned on, and the payloads directly behind them; then
    :func:`publish`. To abort, do not publish: the next claim takes the same room.

    Args:
        words: uint64[:], the whole region.
        producer: int, index of a producer that the caller has registered and that no other thread uses.
        count: int, records, at least 1.
        payload_bytes: int, all payloads together.

    Returns:
        Index into ``words`` of the first record, FULL, or TOO_LARGE where no such frame is ever taken.
    """
    control = control_of(words, producer)
    area_words = np.int64(words[layout.AREA_WORDS])
    need = frame_words(count, payload_bytes)
    if need > area_words or count > record.BATCH_SIZE or payload_bytes > record.FRAME_PAYLOAD_BYTES_MAX:
        return TOO_LARGE
    write = np.int64(words[control + layout.WRITE])
    read: Int = np.int64(words[control + layout.READ_SEEN])
    offset = write & (area_words - 1)
    beyond_end = offset + need > area_words
    crosses = (offset + need) >> _REFRESH_SHIFT != offset >> _REFRESH_SHIFT
    if beyond_end or crosses or write + need - read > area_words:
        read = max(np.int64(read), np.int64(_released(words, control, area_words)))
        words[control + layout.READ_SEEN] = read

    # A frame never wraps. Going back to the front early keeps the part of the area that is in use small, hence cached.
    start = write
    empty = write == read
    skips = offset != 0 and (empty or beyond_end or _front_is_free(write, read, need, area_words))
    if skips:
        start = write - offset + area_words
        may_start = not _skip_is_pending(words, control) and (empty or start + need - read <= area_words)
    else:
        may_start = start + need - read <= area_words
    if not may_start or not _has_slot(words, control):
        add(words, control + layout.REFUSED, 1)
        return FULL
    if skips:
        store_relaxed(words, control + layout.SKIP_FROM, write)
        store_release(words, control + layout.WRITE, start)
        if empty:  # nothing is left unread before the front, although READ follows only with the next frame
            words[control + layout.READ_SEEN] = start
    words[control + layout.CLAIM] = start + need
    frame = area_of(words, producer) + (start & (area_words - 1))
    words[frame + layout.FRAME_COUNT] = count
    words[frame + layout.FRAME_PAYLOAD_BYTES] = payload_bytes
    return frame + layout.FRAME_HEADER_WORDS


@kernel
def _released(words: Words, control: Int, area_words: Int) -> Int:
    """READ; but where the consumer stands at SKIP_FROM, nothing is left unread before the front."""
    read = np.int64(load_acquire(words, control + layout.READ))
    return (read | (area_words - 1)) + 1 if read == np.int64(words[control + layout.SKIP_FROM]) else read


@kernel
def _has_slot(words: Words, control: Int) -> Bool:
    limit = np.int64(words[layout.SLOTS]) - np.int64(words[layout.PRODUCERS])
    tail = np.int64(load_acquire(words, layout.TAIL))
    if tail - np.int64(words[control + layout.HEAD_SEEN]) < limit:
        return True
    head = np.int64(load_acquire(words, layout.HEAD))
    words[control + layout.HEAD_SEEN] = head
    return tail - head < limit


@kernel
def _front_is_free(write: Int, read: Int, need: Int, area_words: Int) -> Bool:
    consumed = read & (area_words - 1)
    in_one_lap = consumed <= write & (area_words - 1) and write - read < area_words
    return in_one_lap and consumed >= area_words >> _FRONT_SHIFT and need <= consumed


@kernel
def _skip_is_pending(words: Words, control: Int) -> Bool:
    """Whether the consumer may not have passed SKIP_FROM yet."""
    return np.int64(words[control + layout.SKIP_FROM]) >= np.int64(load_acquire(words, control + layout.READ))


@kernel
def publish(words: Words, producer: Int, token: Int) -> Int:
    """Hands the frame claimed last to the consumer.

    Args:
        words: uint64[:], the whole region.
        producer: int, as in :func:`claim`.
        token: int64, comes back with the frame.

    Returns:
        1 where the consumer is parked and the caller must wake it, 0 where not, or NOTHING_CLAIMED.
    """
    control = control_of(words, producer)
    slots = np.int64(words[layout.SLOTS])
    area_words = np.int64(words[layout.AREA_WORDS])
    start = np.int64(words[control + layout.WRITE])
    end = np.int64(words[control + layout.CLAIM])
    if end == start:
        return NOTHING_CLAIMED
    frame = area_of(words, producer) + (start & (area_words - 1))
    words[frame + layout.FRAME_TOKEN] = token
    while True:
        tail = np.int64(load_acquire(words, layout.TAIL))
        slot = slot_of(words, tail)
        word = np.int64(load_acquire(words, slot))
        if announces(word, tail):  # filled, but its producer has not moved the tail on yet, or never will
            cas(words, layout.TAIL, tail, tail + 1)
        elif announces(word, tail - slots):
            if tail - np.int64(words[control + layout.HEAD_SEEN]) >= slots:
                words[control + layout.HEAD_SEEN] = load_acquire(words, layout.HEAD)
                pause()  # hardly ever comes here: claims leave room, and HEAD_SEEN was refreshed by the last of them
                continue
            announcement = tail << layout.PRODUCER_BITS | producer
            words[frame + layout.FRAME_SLOT] = announcement
            if cas(words, slot, word, announcement):
                break
            add(words, control + layout.RETRIES, 1)
    cas(words, layout.TAIL, tail, tail + 1)
    store_release(words, control + layout.WRITE, end)
    add(words, control + layout.PUBLISHED_FRAMES, 1)
    add(words, control + layout.PUBLISHED_RECORDS, np.int64(words[frame + layout.FRAME_COUNT]))
    add(words, control + layout.PUBLISHED_PAYLOAD_BYTES, np.int64(words[frame + layout.FRAME_PAYLOAD_BYTES]))
    if load_seq_cst(words, layout.PARKED) == 1 and cas(words, layout.PARKED, 1, 0):
        return 1
    return 0


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
    memcpy(words, first * 8, records, 0, count * record.RECORD_BYTES)
    if payloads.size:
        memcpy(words, (first + count * record.RECORD_WORDS) * 8, payloads, 0, payloads.size)
    return publish(words, producer, token)
