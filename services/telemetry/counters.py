"""Counters of a node: one 64-bit word each, written by a single thread and read by anyone at any time.

A reader sees each word whole (aligned 64-bit loads and stores), and a set of words as of slightly different moments:
good enough to watch a node by, and free of any lock on the way of a transaction.
"""

from enum import IntEnum, unique
from typing import Final

import numpy as np
import numpy.typing as npt

_WRITER_WORDS: Final = 32
"""Words of one writer: four cache lines, so that no two writers share a line and the prefetcher pairs none of them."""

_EVENT_LOOP: Final = 0 * _WRITER_WORDS
_SEQUENCER: Final = 1 * _WRITER_WORDS
_LOG_WRITER: Final = 2 * _WRITER_WORDS
_APPLIER: Final = 3 * _WRITER_WORDS
_MAINTENANCE: Final = 4 * _WRITER_WORDS
_WORDS: Final = 5 * _WRITER_WORDS


@unique
class Counter(IntEnum):
    """The word of each counter. Indexes and those of the state and of pools are levels; all others only grow."""

    # The event loop: frames in, receipts out, reads.
    FRAMES_RECEIVED = _EVENT_LOOP + 0
    BYTES_RECEIVED = _EVENT_LOOP + 1
    FRAMES_ENQUEUED = _EVENT_LOOP + 2
    TRANSACTIONS_ENQUEUED = _EVENT_LOOP + 3
    FRAMES_REFUSED_INVALID = _EVENT_LOOP + 4
    FRAMES_REFUSED_BUSY = _EVENT_LOOP + 5
    FRAMES_REFUSED_UNAVAILABLE = _EVENT_LOOP + 6
    FRAMES_ANSWERED = _EVENT_LOOP + 7
    TRANSACTIONS_ANSWERED = _EVENT_LOOP + 8
    STREAMS_OPENED = _EVENT_LOOP + 9
    STREAMS_CLOSED = _EVENT_LOOP + 10
    ENTRIES_READ = _EVENT_LOOP + 11
    WATCHES_OPENED = _EVENT_LOOP + 12
    WATCHES_CLOSED = _EVENT_LOOP + 13
    CALLS_CUT = _EVENT_LOOP + 14

    # The sequencer: ring to block.
    BLOCKS_SEALED = _SEQUENCER + 0
    TRANSACTIONS_SEALED = _SEQUENCER + 1
    SEALED_INDEX = _SEQUENCER + 2
    SEAL_NS = _SEQUENCER + 3

    # The log writer: block to disk.
    BLOCKS_DURABLE = _LOG_WRITER + 0
    TRANSACTIONS_DURABLE = _LOG_WRITER + 1
    DURABLE_INDEX = _LOG_WRITER + 2
    LOG_BYTES_WRITTEN = _LOG_WRITER + 3
    SYNCS = _LOG_WRITER + 4
    WRITE_NS = _LOG_WRITER + 5
    SYNC_NS = _LOG_WRITER + 6
    COMMITTED_INDEX = _LOG_WRITER + 7  # written under the commit gate's lock

    # The applier: block to state and results.
    BLOCKS_APPLIED = _APPLIER + 0
    TRANSACTIONS_APPLIED = _APPLIER + 1
    APPLIED_INDEX = _APPLIER + 2
    APPLY_NS = _APPLIER + 3
    STATE_ENTRIES = _APPLIER + 4
    STATE_SESSIONS = _APPLIER + 5
    STATE_BYTES = _APPLIER + 6
    STATE_SESSION_BYTES = _APPLIER + 7

    # Maintenance: the pools once a second; pauses by whichever thread collects, which is one at a time.
    POOL_OBJECTS_MADE = _MAINTENANCE + 0
    POOL_BORROWS_RECYCLED = _MAINTENANCE + 1
    POOL_BORROWS_MISSED = _MAINTENANCE + 2
    POOL_OBJECTS_IN_USE = _MAINTENANCE + 3
    POOL_OBJECTS_IDLE = _MAINTENANCE + 4
    POOLS_ACTIVE = _MAINTENANCE + 5
    GC_PAUSES = _MAINTENANCE + 6
    GC_PAUSE_NS = _MAINTENANCE + 7
    GC_PAUSE_NS_MAX = _MAINTENANCE + 8
    GC_PAUSES_OVER_1MS = _MAINTENANCE + 9
    GC_PAUSES_OVER_10MS = _MAINTENANCE + 10


class Counters:
    """A node's counters.

    ``words`` is the whole array (uint64) for compiled code; Python uses `add` and `put`, which cost some tens of
    nanoseconds. A counter has one writer, so neither needs an atomic read-modify-write.
    """

    def __init__(self) -> None:
        self.words: Final[npt.NDArray[np.uint64]] = np.zeros(_WORDS, np.uint64)
        # Items of a memoryview are plain ints: several times cheaper than numpy's scalars.
        self._view: Final = memoryview(self.words.data)

    def add(self, counter: Counter, count: int = 1) -> None:
        """Count `count` more (at least 0)."""
        self._view[counter] += count

    def put(self, counter: Counter, level: int) -> None:
        """Set a level."""
        self._view[counter] = level

    def __getitem__(self, counter: Counter) -> int:
        return int(self._view[counter])
