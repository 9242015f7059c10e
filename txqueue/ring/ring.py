"""The ring: frames from any number of producers to one consumer, without a lock, in compiled code.

Each producer owns an *area*, a private first-in-first-out buffer, and writes frames into it without asking anyone: a
claim is not shared, and one that never gets published, because its producer failed or died, is simply overwritten.
A frame is published by one word, its position and its producer, put into the *slots* that all producers share. So
nothing that a producer does or fails to do between two publications can be seen by, or can stall, anybody else.
The consumer hands a batch on by moving one word, HEAD.

**Publishing** (the tail's rule is Michael and Scott, "Simple, Fast, and Practical Non-Blocking and Blocking Concurrent
Queue Algorithms", PODC 1996). Slot ``t & mask`` must hold the word of position ``t - slots``; it is replaced by
compare-and-swap, and only then is the tail moved from ``t`` to ``t + 1``, by whoever comes first. A producer that dies
between the two leaves a tail one behind; the next one finds the slot filled and moves the tail on first. A failed
compare-and-swap means that another producer's succeeded: the system as a whole always progresses. Words are unique for
2^47 frames, so no stale compare-and-swap can succeed.

**Why a publication never waits for room.** A claim is granted only while as many slots are free as there are producers
besides, and a producer holds one claim at a time: at most all of them publish before the next claim looks.

**Handing on.** HEAD holds a position and the *epoch* of the consumer that may move it. The consumer selects and copies
without writing anything shared, then moves HEAD past the batch by one compare-and-swap: that is the moment at which
the batch is handed on, and there is no other. Taking over is a compare-and-swap on the same word that raises the
epoch and leaves the position. So of two consumers that hold a copy of the same frames exactly one hands them on; the
other, its epoch being the past one, finds out by the compare-and-swap that fails, and has spoilt nothing. (Epochs have
16 bits: it would have to be stopped while 65,536 others took over and none of them handed on anything.)

**What may be overwritten.** A frame whose position is below HEAD; nothing else counts. READ, which the consumer stores
after HEAD, is a hint that spares the producer from looking at its frames one by one, and may lag behind for ever if
that consumer died: a producer that finds no room by READ walks its own frames up to HEAD before it refuses.
Before it overwrites, it moves OLDEST. A consumer that has taken over knows no place in the areas: it walks from
OLDEST, reads a frame's header, then looks whether OLDEST is beyond it by now (a sequence lock); if so, starts again.

**Order of stores.** The frame is written before the slot's compare-and-swap, and the consumer loads the slot before
the frame: it sees the whole frame. The consumer copies out before it moves HEAD, and stores READ after it; producers
acquire either before they write again: nothing is overwritten before it was copied. OLDEST is stored before what is
below it is overwritten, and loaded after a header was: a header that passed was whole.

**A producer's place** is given to another process only when its owner is dead or has left, and no slot from HEAD to
the tail announces a frame of it. The new owner begins a fresh lap of the area, beyond whatever the old one may have
published last, and moves OLDEST there: consumers jump to it.

**Parking.** The consumer stores its epoch into PARKED, then looks at the slot once more; a producer fills the slot,
then looks at PARKED. All four are sequentially consistent, so at least one of the two sees the other (Dekker). A
consumer that has been taken over cannot undo its successor's mark: it only ever replaces its own.
"""

import numpy as np
from numba import types
from numpy.typing import NDArray

from penstock.contract import limits, record
from txqueue.jit.atomics import cas, load_acquire, load_seq_cst, memcpy, pause, prefetch_to_write, store_release
from txqueue.jit.cpu import ticks
from txqueue.jit.decorators import BYTES_IN, ROWS_IN, WORDS, entry, kernel
from txqueue.ring import layout
from txqueue.ring.producer_buffer import fetch_ahead, find_room
from txqueue.ring.ring_addressing import (
    Bool,
    Int,
    Words,
    add,
    announces,
    area_of,
    control_of,
    frame_words,
    head_position,
    slot_of,
)

FULL = -1
TOO_LARGE = -2
NOT_RECORDS = -3
NOTHING_CLAIMED = -4

STAMP_EVERY = 16
"""Of so many claims of a producer, one is stamped with the time: reading the clock costs ten nanoseconds."""


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
    if need > area_words or count > limits.BATCH_SIZE or payload_bytes > limits.FRAME_PAYLOAD_BYTES_MAX:
        return TOO_LARGE
    start = find_room(words, producer, control, need) if _has_slot(words, control) else np.int64(FULL)
    if start < 0:
        add(words, control + layout.REFUSED, 1)
        return FULL
    words[control + layout.CLAIM] = start + need
    add(words, control + layout.CLAIMS, 1)
    frame = area_of(words, producer) + (start & (area_words - 1))
    words[frame + layout.FRAME_COUNT] = count
    words[frame + layout.FRAME_PAYLOAD_BYTES] = payload_bytes
    words[frame + layout.RECORDS_BEFORE] = words[control + layout.PUBLISHED_RECORDS]
    words[frame + layout.PAYLOAD_BYTES_BEFORE] = words[control + layout.PUBLISHED_PAYLOAD_BYTES]
    stamped = np.int64(words[control + layout.CLAIMS]) & (STAMP_EVERY - 1) == 1
    words[frame + layout.FRAME_STAMP] = ticks() if stamped else np.uint64(0)
    fetch_ahead(words, producer, start + need, need)
    return frame + layout.FRAME_HEADER_WORDS


@kernel
def _has_slot(words: Words, control: Int) -> Bool:
    limit = np.int64(words[layout.SLOTS]) - np.int64(words[layout.PRODUCERS])
    tail = np.int64(load_acquire(words, layout.TAIL))
    if tail - np.int64(words[control + layout.HEAD_SEEN]) < limit:
        return True
    head = head_position(words)
    words[control + layout.HEAD_SEEN] = head
    return tail - head < limit


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
                words[control + layout.HEAD_SEEN] = head_position(words)
                pause()  # hardly ever comes here: claims leave room, and HEAD_SEEN was refreshed by the last of them
                continue
            announcement = tail << layout.PRODUCER_BITS | producer
            words[frame + layout.FRAME_SLOT] = announcement
            if cas(words, slot, word, announcement):
                break
            add(words, control + layout.RETRIES, 1)
    cas(words, layout.TAIL, tail, tail + 1)
    prefetch_to_write(words, slot_of(words, tail + 2 * layout.LINE_WORDS))
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
    memcpy(words, first * 8, records, 0, count * record.RECORD_BYTES)
    if payloads.size:
        memcpy(words, (first + count * record.RECORD_WORDS) * 8, payloads, 0, payloads.size)
    return publish(words, producer, token)
