"""The producer registry: which process may write as which producer of a ring."""

import numpy as np
from numba import types

from txqueue.jit.array_types import Bool, Int, Words
from txqueue.jit.atomics import cas, fence_release, load_acquire, store_relaxed, store_release
from txqueue.jit.decorators import WORDS, entry, kernel
from txqueue.ring import layout
from txqueue.ring.addressing import add, announces, control_of, head_position, slot_of

_PRODUCER_MASK = (1 << layout.PRODUCER_BITS) - 1


@entry(WORDS, types.int64, types.uint64, types.uint64)
def register(words: Words, producer: Int, expected: Int, owner: Int) -> Bool:
    """Makes the process ``owner`` the owner of a producer whose owner is ``expected``: 0 for nobody, or a dead process.

    Frames that the last owner published come first: until the consumer has committed them all, the producer stays
    nobody's. What that owner had claimed but not published is forgotten, and counted.

    Returns:
        Whether the producer is now ``owner``'s.
    """
    control = control_of(words, producer)
    if not cas(words, control + layout.OWNER, expected, owner):
        return False
    if not _is_drained(words, producer):
        store_release(words, control + layout.OWNER, 0)
        return False
    _begin_fresh_lap(words, control)
    while True:
        used = load_acquire(words, layout.PRODUCERS_USED)
        if np.int64(used) > producer or cas(words, layout.PRODUCERS_USED, used, producer + 1):
            return True


@kernel
def _is_drained(words: Words, producer: Int) -> Bool:
    """Whether no frame of this producer, whose owner publishes no more, waits."""
    head = head_position(words)
    tail = np.int64(load_acquire(words, layout.TAIL))
    for position in range(head, tail + 1):  # the tail itself too: its slot may be filled already
        word = np.int64(load_acquire(words, slot_of(words, position)))
        if announces(word, position) and word & _PRODUCER_MASK == producer:
            return False
    return True


@kernel
def _begin_fresh_lap(words: Words, control: Int) -> None:
    """Continues the buffer beyond whatever the last owner published: it may have died before it moved WRITE on."""
    buffer_words = np.int64(words[layout.BUFFER_WORDS])
    write = np.int64(words[control + layout.WRITE])
    published = np.int64(words[control + layout.PUBLISHED_RECORDS])
    consumed = np.int64(load_acquire(words, control + layout.CONSUMED_RECORDS))
    if consumed > published:  # it died before it counted its last frame
        words[control + layout.PUBLISHED_RECORDS] = consumed
        words[control + layout.PUBLISHED_PAYLOAD_BYTES] = words[control + layout.CONSUMED_PAYLOAD_BYTES]
    elif np.int64(words[control + layout.CLAIM]) > write:
        add(words, control + layout.DEAD_CLAIMS, 1)
    front = (max(write, np.int64(words[control + layout.OLDEST])) | (buffer_words - 1)) + 1
    store_relaxed(words, control + layout.OLDEST, front)
    fence_release()
    words[control + layout.WRITE] = front
    words[control + layout.CLAIM] = front
    words[control + layout.HEAD_CACHE] = head_position(words)
