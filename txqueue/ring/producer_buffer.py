"""Where the next frame goes in its producer's area. The producer alone runs this; the argument is in ring.py."""

import numpy as np

from txqueue.jit.atomics import fence_release, load_acquire, prefetch_to_write, store_relaxed, store_release
from txqueue.jit.decorators import kernel
from txqueue.ring import layout
from txqueue.ring.ring_addressing import Bool, Int, Words, add, area_of, frame_words, head_position

NO_ROOM = -1

_FRONT_SHIFT = 2
"""An area goes back to its front once a quarter of it is behind the consumer."""
_REFRESH_SHIFT = 13
"""A producer looks at the consumer's line once in so many words (64 KiB) of its area."""
_AHEAD_WORDS = 256
"""How far before it writes them a producer takes the lines of small frames from the consumer's cache: 16 frames of one
record, in the time of which a line travels from any core to any other."""
_SMALL_WORDS = 64
"""Of larger frames the processor keeps enough lines under way by itself."""


@kernel
def find_room(words: Words, producer: Int, control: Int, need: Int) -> Int:
    """Finds a place for ``need`` words, which the area has in all, and makes the area continue there.

    Returns:
        The place, counted like WRITE, or NO_ROOM.
    """
    area_words = np.int64(words[layout.AREA_WORDS])
    write = np.int64(words[control + layout.WRITE])
    oldest: Int = np.int64(words[control + layout.OLDEST])
    offset = write & (area_words - 1)
    stays_near = (offset + need) >> _REFRESH_SHIFT == offset >> _REFRESH_SHIFT
    if stays_near and offset + need <= area_words and write + need - oldest <= area_words:
        return write
    oldest = _advance(words, control, oldest, _read_before(words, control, area_words))
    start = _place(words, control, write, np.int64(oldest), need, area_words)
    if start == NO_ROOM:  # READ is but a hint
        oldest = _advance(words, control, oldest, _handed_on(words, producer, control, np.int64(oldest), write))
        start = _place(words, control, write, np.int64(oldest), need, area_words)
    if start > write:
        if write == oldest:
            _advance(words, control, oldest, start)
        else:
            store_release(words, control + layout.SKIP_FROM, write)
        add(words, control + layout.PADDING, area_words - offset)
        store_release(words, control + layout.WRITE, start)
    return start


@kernel
def fetch_ahead(words: Words, producer: Int, end: Int, need: Int) -> None:
    """Sends for the lines of frames to come, as many as this one, which ends at ``end``, takes.

    The compare-and-swap that publishes a frame waits until all stores before it are done; stores to lines that the
    consumer read last take hundreds of nanoseconds.
    """
    if need > _SMALL_WORDS:
        return
    area = area_of(words, producer)
    area_words = np.int64(words[layout.AREA_WORDS])
    for line in range(0, need, layout.LINE_WORDS):
        prefetch_to_write(words, area + ((end + _AHEAD_WORDS + line) & (area_words - 1)))


@kernel
def _advance(words: Words, control: Int, oldest: Int, handed_on: Int) -> Int:
    """Moves OLDEST, before anything below is overwritten: a consumer that looks at it after it read a frame's header
    knows whether it read that header whole.
    """
    if handed_on <= oldest:
        return oldest
    store_relaxed(words, control + layout.OLDEST, handed_on)
    fence_release()
    return handed_on


@kernel
def _read_before(words: Words, control: Int, area_words: Int) -> Int:
    """READ; but where that is SKIP_FROM, nothing is left unread before the front."""
    read = np.int64(load_acquire(words, control + layout.READ))
    return (read | (area_words - 1)) + 1 if read == np.int64(words[control + layout.SKIP_FROM]) else read


@kernel
def _handed_on(words: Words, producer: Int, control: Int, oldest: Int, write: Int) -> Int:
    """How far the frames from ``oldest`` on were handed on, by HEAD, frame by frame."""
    head = head_position(words)
    area = area_of(words, producer)
    area_words = np.int64(words[layout.AREA_WORDS])
    at = oldest
    while at < write:
        if at == np.int64(words[control + layout.SKIP_FROM]):
            at = (at | (area_words - 1)) + 1
            continue
        frame = area + (at & (area_words - 1))
        if np.int64(words[frame + layout.FRAME_SLOT]) >> layout.PRODUCER_BITS >= head:
            break
        at += frame_words(
            np.int64(words[frame + layout.FRAME_COUNT]), np.int64(words[frame + layout.FRAME_PAYLOAD_BYTES])
        )
    return at


@kernel
def _place(words: Words, control: Int, write: Int, oldest: Int, need: Int, area_words: Int) -> Int:
    """A frame never wraps. Going back to the front early keeps the part of the area that is in use small, hence cached.

    There is one SKIP_FROM: it may be set anew only when OLDEST is beyond it.
    """
    offset = write & (area_words - 1)
    front = write - offset + area_words
    if write == oldest:
        return write if offset == 0 else front
    if offset + need > area_words or _front_is_free(write, oldest, need, area_words):
        skip_is_pending = np.int64(words[control + layout.SKIP_FROM]) >= oldest
        return NO_ROOM if skip_is_pending or front + need - oldest > area_words else front
    return write if write + need - oldest <= area_words else NO_ROOM


@kernel
def _front_is_free(write: Int, oldest: Int, need: Int, area_words: Int) -> Bool:
    consumed = oldest & (area_words - 1)
    in_one_lap = consumed <= write & (area_words - 1) and write - oldest < area_words
    return in_one_lap and consumed >= area_words >> _FRONT_SHIFT and need <= consumed
