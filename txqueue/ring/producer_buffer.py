"""The allocator of a producer's buffer: finds room for the next frame. The argument for it is in ``ring.py``.

The producer alone runs this.
"""

import numpy as np

from txqueue.jit.array_types import Bool, Int, Words
from txqueue.jit.atomics import fence_release, load_acquire, store_relaxed, store_release
from txqueue.jit.decorators import kernel
from txqueue.jit.raw_memory import prefetch_to_write
from txqueue.region.cache_line import LINE_WORDS
from txqueue.ring import layout
from txqueue.ring.addressing import add, buffer_of, frame_words, head_position

NO_ROOM = -1

_FRONT_SHIFT = 2
"""The next frame goes to the front of the buffer once the consumer has committed a quarter of it."""
_REFRESH_SHIFT = 13
"""A producer looks at the consumer's cache line once in 2^13 words (64 KiB) of its buffer."""
_AHEAD_WORDS = 256
"""How far ahead a producer of small frames takes the lines that it will write from the consumer's cache: 16 frames of
one record. While it writes those, a line travels from any core to any other."""
_SMALL_WORDS = 64
"""A larger frame needs no prefetch: the processor itself keeps enough lines under way."""


@kernel
def find_room(words: Words, producer: Int, control: Int, need: Int) -> Int:
    """Finds room for ``need`` words, at most the buffer's size, and moves WRITE there.

    Returns:
        The offset where the frame begins, or NO_ROOM.
    """
    buffer_words = np.int64(words[layout.BUFFER_WORDS])
    write = np.int64(words[control + layout.WRITE])
    oldest: Int = np.int64(words[control + layout.OLDEST])
    offset = write & (buffer_words - 1)
    stays_near = (offset + need) >> _REFRESH_SHIFT == offset >> _REFRESH_SHIFT
    if stays_near and offset + need <= buffer_words and write + need - oldest <= buffer_words:
        return write
    oldest = _advance_oldest(words, control, oldest, _read_offset(words, control, buffer_words))
    start = _choose_start(words, control, write, np.int64(oldest), need, buffer_words)
    if start == NO_ROOM:  # READ may lag behind
        committed = _committed_offset(words, producer, control, np.int64(oldest), write)
        oldest = _advance_oldest(words, control, oldest, committed)
        start = _choose_start(words, control, write, np.int64(oldest), need, buffer_words)
    if start > write:
        if write == oldest:
            _advance_oldest(words, control, oldest, start)
        else:
            store_release(words, control + layout.SKIP_FROM, write)
        add(words, control + layout.PADDING, buffer_words - offset)
        store_release(words, control + layout.WRITE, start)
    return start


@kernel
def prefetch_ahead(words: Words, producer: Int, end: Int, need: Int) -> None:
    """Starts fetching lines that later frames will be written to: as many as this frame takes, which ends at ``end``.

    The compare-and-swap that publishes a frame waits until all stores before it are done; stores to lines that the
    consumer read last take hundreds of nanoseconds.
    """
    if need > _SMALL_WORDS:
        return
    buffer = buffer_of(words, producer)
    buffer_words = np.int64(words[layout.BUFFER_WORDS])
    for line in range(0, need, LINE_WORDS):
        prefetch_to_write(words, buffer + ((end + _AHEAD_WORDS + line) & (buffer_words - 1)))


@kernel
def _advance_oldest(words: Words, control: Int, oldest: Int, committed: Int) -> Int:
    """Moves OLDEST, before anything below it is overwritten.

    A consumer that looks at OLDEST after it read a frame's header knows whether it read that header whole.
    """
    if committed <= oldest:
        return oldest
    store_relaxed(words, control + layout.OLDEST, committed)
    fence_release()
    return committed


@kernel
def _read_offset(words: Words, control: Int, buffer_words: Int) -> Int:
    """READ; or the front of the next lap, where READ has come to SKIP_FROM, as nothing is left in between."""
    read = np.int64(load_acquire(words, control + layout.READ))
    return (read | (buffer_words - 1)) + 1 if read == np.int64(words[control + layout.SKIP_FROM]) else read


@kernel
def _committed_offset(words: Words, producer: Int, control: Int, oldest: Int, write: Int) -> Int:
    """The offset up to which frames were committed, by HEAD: walks from ``oldest``, frame by frame."""
    head = head_position(words)
    buffer = buffer_of(words, producer)
    buffer_words = np.int64(words[layout.BUFFER_WORDS])
    offset = oldest
    while offset < write:
        if offset == np.int64(words[control + layout.SKIP_FROM]):
            offset = (offset | (buffer_words - 1)) + 1
            continue
        frame = buffer + (offset & (buffer_words - 1))
        if np.int64(words[frame + layout.FRAME_SLOT]) >> layout.PRODUCER_BITS >= head:
            break
        offset += frame_words(
            np.int64(words[frame + layout.FRAME_COUNT]), np.int64(words[frame + layout.FRAME_PAYLOAD_BYTES])
        )
    return offset


@kernel
def _choose_start(words: Words, control: Int, write: Int, oldest: Int, need: Int, buffer_words: Int) -> Int:
    """Chooses between going on at WRITE and going back to the front, as a frame never wraps; or NO_ROOM.

    Going back early keeps the part of the buffer that is in use small, hence cached. It sets SKIP_FROM, of which there
    is
    one: it may be set anew only when OLDEST is beyond it.
    """
    offset = write & (buffer_words - 1)
    front = write - offset + buffer_words
    if write == oldest:
        return write if offset == 0 else front
    if offset + need > buffer_words or _front_is_free(write, oldest, need, buffer_words):
        skip_is_pending = np.int64(words[control + layout.SKIP_FROM]) >= oldest
        return NO_ROOM if skip_is_pending or front + need - oldest > buffer_words else front
    return write if write + need - oldest <= buffer_words else NO_ROOM


@kernel
def _front_is_free(write: Int, oldest: Int, need: Int, buffer_words: Int) -> Bool:
    consumed = oldest & (buffer_words - 1)
    in_one_lap = consumed <= write & (buffer_words - 1) and write - oldest < buffer_words
    return in_one_lap and consumed >= buffer_words >> _FRONT_SHIFT and need <= consumed
