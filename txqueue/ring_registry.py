"""Who may write as which producer of a ring."""

import numpy as np

from txqueue import ring_layout as layout
from txqueue.atomics import cas, load_acquire, store_release
from txqueue.compiled import kernel
from txqueue.ring_places import Bool, Int, Words, announces, control_of, slot_of

_PRODUCER_MASK = (1 << layout.PRODUCER_BITS) - 1


@kernel
def take(words: Words, producer: Int, expected: Int, owner: Int) -> Bool:
    """Makes ``owner`` the owner of a producer, if it is ``expected``'s (0: nobody's; else a dead process).

    Frames that the last owner published are the consumer's business first: until it has handed them all on, the
    producer stays nobody's. What that owner had claimed but not published is forgotten.

    Returns:
        Whether the producer is now ``owner``'s.
    """
    control = control_of(words, producer)
    if not cas(words, control + layout.OWNER, expected, owner):
        return False
    if not _is_drained(words, producer, control):
        store_release(words, control + layout.OWNER, 0)
        return False
    read = words[control + layout.READ]
    words[control + layout.WRITE] = read
    words[control + layout.CLAIM] = read
    words[control + layout.READ_SEEN] = read
    words[control + layout.HEAD_SEEN] = load_acquire(words, layout.HEAD)
    words[control + layout.SKIP_FROM] = np.uint64(layout.NO_SKIP)
    # An owner that died right after a publication had not counted it yet.
    words[control + layout.PUBLISHED_FRAMES] = words[control + layout.CONSUMED_FRAMES]
    words[control + layout.PUBLISHED_RECORDS] = words[control + layout.CONSUMED_RECORDS]
    words[control + layout.PUBLISHED_PAYLOAD_BYTES] = words[control + layout.CONSUMED_PAYLOAD_BYTES]
    while True:
        used = load_acquire(words, layout.PRODUCERS_USED)
        if np.int64(used) > producer or cas(words, layout.PRODUCERS_USED, used, producer + 1):
            return True


@kernel
def _is_drained(words: Words, producer: Int, control: Int) -> Bool:
    """Whether no frame of this producer, whose owner publishes no more, waits or is being taken."""
    head = np.int64(load_acquire(words, layout.HEAD))
    tail = np.int64(load_acquire(words, layout.TAIL))
    for position in range(head, tail + 1):  # the tail itself too: its slot may be filled already
        word = np.int64(load_acquire(words, slot_of(words, position)))
        if announces(word, position) and word & _PRODUCER_MASK == producer:
            return False
    read = np.int64(load_acquire(words, control + layout.READ))
    return bool(read == np.int64(load_acquire(words, control + layout.CURSOR)))


@kernel
def give_up(words: Words, producer: Int) -> None:
    """Makes a producer nobody's. Frames it published stay published."""
    store_release(words, control_of(words, producer) + layout.OWNER, 0)


@kernel
def owner_of(words: Words, producer: Int) -> Int:
    """The owner of a producer, or 0."""
    return np.int64(load_acquire(words, control_of(words, producer) + layout.OWNER))
