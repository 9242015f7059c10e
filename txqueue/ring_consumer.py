"""The consumer's side of the ring: taking a batch exclusively, and waiting for one. The argument is in ring.py."""

import numpy as np
from numba import types
from numpy.typing import NDArray

from txqueue import record
from txqueue import ring_layout as layout
from txqueue.atomics import (
    cas,
    fetch_add,
    load_acquire,
    load_relaxed,
    load_seq_cst,
    memcpy,
    pause,
    store_release,
    store_seq_cst,
)
from txqueue.compiled import BYTES, ROWS, WORDS, entry, kernel
from txqueue.ring_places import Bool, Int, Words, add, announces, area_of, control_of, frame_words, slot_of

BUSY = -1
BODY_TOO_SMALL = -2

_PRODUCER_MASK = (1 << layout.PRODUCER_BITS) - 1
_NONE = -1


@kernel
def _select(words: Words, head: Int, room: Int, frames: Words, limit: Int) -> tuple[Int, Int, Int, Int]:
    """Moves the cursors over the frames that go into this batch. Leaves in a row where its frame stands, for now."""
    limit = min(np.int64(limit), np.int64(load_relaxed(words, layout.BOUND)), np.int64(record.BATCH_SIZE))
    taken: Int = np.int64(0)
    count: Int = np.int64(0)
    payload_bytes: Int = np.int64(0)
    touched: Int = np.int64(_NONE)
    while taken < frames.shape[0]:
        word = np.int64(load_acquire(words, slot_of(words, head + taken)))
        if not announces(word, head + taken):
            break
        producer = word & _PRODUCER_MASK
        control = control_of(words, producer)
        cursor, frame = _seek(words, producer, control, word)
        more = np.int64(words[frame + layout.FRAME_COUNT])
        more_bytes = np.int64(words[frame + layout.FRAME_PAYLOAD_BYTES])
        if (count + more) * record.RECORD_BYTES + payload_bytes + more_bytes > room:
            if taken == 0:
                return np.int64(BODY_TOO_SMALL), more, more_bytes, touched
            break
        if taken and (count + more > limit or payload_bytes + more_bytes > record.FRAME_PAYLOAD_BYTES_MAX):
            break
        frames[taken, 0] = frame
        frames[taken, 1] = count
        frames[taken, 2] = more
        frames[taken, 3] = more_bytes
        if words[control + layout.CURSOR] == words[control + layout.READ]:
            words[control + layout.NEXT] = touched
            touched = control
        words[control + layout.CURSOR] = cursor + frame_words(more, more_bytes)
        add(words, control + layout.CONSUMED_FRAMES, 1)
        add(words, control + layout.CONSUMED_RECORDS, more)
        add(words, control + layout.CONSUMED_PAYLOAD_BYTES, more_bytes)
        taken += 1
        count += more
        payload_bytes += more_bytes
    return taken, count, payload_bytes, touched


@kernel
def _seek(words: Words, producer: Int, control: Int, word: Int) -> tuple[Int, Int]:
    """Finds the frame that a slot's word announces: at the cursor, at the area's front, or behind frames that a
    consumer handed on before it died.
    """
    area = area_of(words, producer)
    area_words = np.int64(words[layout.AREA_WORDS])
    skip_from = np.int64(load_relaxed(words, control + layout.SKIP_FROM))
    cursor = np.int64(words[control + layout.CURSOR])
    while True:
        if cursor == skip_from:
            cursor = (cursor | (area_words - 1)) + 1
        frame = area + (cursor & (area_words - 1))
        found = np.int64(words[frame + layout.FRAME_SLOT])
        if found == word:
            return cursor, frame
        assert found < word, "the ring is corrupt: a slot announces a frame that its producer's area does not hold"
        count = np.int64(words[frame + layout.FRAME_COUNT])
        cursor += frame_words(count, np.int64(words[frame + layout.FRAME_PAYLOAD_BYTES]))


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


@entry(WORDS, types.int64, BYTES, ROWS, types.int64)
def dequeue(words: Words, owner: Int, body: NDArray[np.uint8], frames: Words, limit: Int) -> tuple[Int, Int, Int]:
    """Takes the oldest frames, copies them out, and hands them on with one store.

    Args:
        words: uint64[:], the whole region.
        owner: int64, names the calling process; see ``txqueue/owner.py``.
        body: uint8[:], receives the records of all frames and directly behind them all payloads.
        frames: uint64[:, 4], receives token, first record, count and payload bytes of each frame.
        limit: int, records at most; the first frame is taken whatever its size.

    Returns:
        Frames, records and payload bytes taken. Instead of frames: BUSY where another dequeue is under way, or
        BODY_TOO_SMALL where the first frame does not fit, then with its records and payload bytes.
    """
    if not cas(words, layout.CONSUMER, 0, owner):
        return BUSY, 0, 0
    head = np.int64(load_acquire(words, layout.HEAD))
    taken, count, payload_bytes, touched = _select(words, head, body.size, frames, limit)
    if taken > 0:
        _copy(words, body, frames[:taken], count)
        store_release(words, layout.HEAD, head + taken)
        add(words, layout.BATCHES, 1)
        while touched != _NONE:
            store_release(words, touched + layout.READ, words[touched + layout.CURSOR])
            touched = np.int64(words[touched + layout.NEXT])
    store_release(words, layout.CONSUMER, 0)
    return taken, count, payload_bytes


@kernel
def take_over(words: Words, dead: Int, owner: Int) -> Bool:
    """Ends the dequeue of a consumer that died in it. The frames it had not handed on are taken again.

    Returns:
        False where somebody else was faster.
    """
    if not cas(words, layout.CONSUMER, dead, owner):
        return False
    for producer in range(np.int64(load_acquire(words, layout.PRODUCERS_USED))):
        control = control_of(words, producer)
        _release_handed_on(words, producer, control)
        words[control + layout.CURSOR] = words[control + layout.READ]
    store_release(words, layout.CONSUMER, 0)
    return True


@kernel
def _release_handed_on(words: Words, producer: Int, control: Int) -> None:
    """Gives back the room of frames below HEAD that the dead consumer had not come to release."""
    head = np.int64(load_acquire(words, layout.HEAD))
    write = np.int64(load_acquire(words, control + layout.WRITE))
    area = area_of(words, producer)
    area_words = np.int64(words[layout.AREA_WORDS])
    read = np.int64(words[control + layout.READ])
    while read < write:
        if read == np.int64(load_relaxed(words, control + layout.SKIP_FROM)):
            read = (read | (area_words - 1)) + 1
            continue
        frame = area + (read & (area_words - 1))
        if np.int64(words[frame + layout.FRAME_SLOT]) >> layout.PRODUCER_BITS >= head:
            break
        read += frame_words(
            np.int64(words[frame + layout.FRAME_COUNT]), np.int64(words[frame + layout.FRAME_PAYLOAD_BYTES])
        )
    store_release(words, control + layout.READ, read)


@kernel
def _is_ready(words: Words) -> Bool:
    head = np.int64(load_acquire(words, layout.HEAD))
    return announces(np.int64(load_seq_cst(words, slot_of(words, head))), head)


@kernel
def spin(words: Words, rounds: Int) -> Bool:
    """Looks for a frame so many times; whether there is one."""
    for _ in range(rounds):
        if _is_ready(words):
            return True
        pause()
    return _is_ready(words)


@kernel
def park(words: Words) -> Bool:
    """Announces that the consumer goes to sleep on PARKED; False where it must not, as there is something to do."""
    store_seq_cst(words, layout.PARKED, 1)
    if _is_ready(words) or load_seq_cst(words, layout.INTERRUPTS) != words[layout.INTERRUPTS_SEEN]:
        unpark(words)
        return False
    add(words, layout.PARKS, 1)
    return True


@kernel
def unpark(words: Words) -> None:
    """Announces that the consumer is awake, and forgets the interrupts so far."""
    store_seq_cst(words, layout.PARKED, 0)
    words[layout.INTERRUPTS_SEEN] = load_seq_cst(words, layout.INTERRUPTS)


@kernel
def interrupt(words: Words) -> None:
    """Makes the consumer's wait, the present one or else the next, return; the caller then wakes the parking word."""
    fetch_add(words, layout.INTERRUPTS, 1)
    store_seq_cst(words, layout.PARKED, 0)
