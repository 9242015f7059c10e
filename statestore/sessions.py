"""Sessions: what makes a transaction that is sent twice take effect once.

A session holds the highest sequence of a client and the result bytes of its last 131,072 sequences, each in its
place in the window; 0 means not seen. Windows are sparse memory: a client costs the pages that its sequences touch.
"""

import numpy as np

from statestore.compiled import inner
from statestore.hashing import fin
from statestore.layout import (
    ONE,
    SESSION_CAPACITY,
    SESSION_CLIENT,
    SESSION_FIRST,
    SESSION_FREE,
    SESSION_FRESH,
    SESSION_HIGHEST,
    SESSION_HORIZON_NS,
    SESSION_INDEX,
    SESSION_INDEX_MASK,
    SESSION_NEXT_FREE,
    SESSION_ROWS,
    SESSION_SWEEP_TIME,
    SESSION_TIME_NS,
    SESSION_USED,
    SESSION_WINDOW,
    SESSION_WINDOWS,
    SESSION_WORDS,
    SESSIONS,
    WINDOW_BYTES,
    WINDOW_MASK,
    ZERO,
)
from statestore.pointers import U64, Bytes, Words
from txqueue import record

NEW = np.uint64(0)
"""An admitted sequence: the record is to be applied, and its result remembered."""
DUPLICATE = np.uint64(record.DUPLICATE)
SEQUENCE_EXPIRED = np.uint64(record.SEQUENCE_EXPIRED)
SESSIONS_EXHAUSTED = np.uint64(record.SESSIONS_EXHAUSTED)


@inner
def session_of(words: Words, client: U64, time_ns: U64) -> U64:
    """Word offset of a client's row, made where it has none; 0 where no row can be had."""
    index = words[SESSION_INDEX]
    mask = words[SESSION_INDEX_MASK]
    at = fin(client) & mask
    while words[index + at] != ZERO:
        row = words[SESSION_ROWS] + (words[index + at] - ONE) * SESSION_WORDS
        if words[row + SESSION_CLIENT] == client:
            words[row + SESSION_TIME_NS] = time_ns
            return row
        at = (at + ONE) & mask
    if words[SESSIONS] == words[SESSION_CAPACITY]:
        if words[SESSION_SWEEP_TIME] == time_ns:
            return ZERO
        words[SESSION_SWEEP_TIME] = time_ns
        forget_idle(words, time_ns)
        if words[SESSIONS] == words[SESSION_CAPACITY]:
            return ZERO
    number = words[SESSION_FREE]
    if number != ZERO:
        words[SESSION_FREE] = words[words[SESSION_ROWS] + (number - ONE) * SESSION_WORDS + SESSION_NEXT_FREE]
    else:
        words[SESSION_FRESH] += ONE
        number = words[SESSION_FRESH]
    row = words[SESSION_ROWS] + (number - ONE) * SESSION_WORDS
    words[row + SESSION_CLIENT] = client
    words[row + SESSION_HIGHEST] = ZERO
    words[row + SESSION_FIRST] = ONE
    words[row + SESSION_TIME_NS] = time_ns
    words[row + SESSION_WINDOW] = words[SESSION_WINDOWS] + (number - ONE) * WINDOW_BYTES
    words[row + SESSION_USED] = ONE
    words[SESSIONS] += ONE
    enter(words, number)
    return row


@inner
def enter(words: Words, number: U64) -> None:
    """Puts the row with this number (from 1) into the index."""
    index = words[SESSION_INDEX]
    mask = words[SESSION_INDEX_MASK]
    at = fin(words[words[SESSION_ROWS] + (number - ONE) * SESSION_WORDS + SESSION_CLIENT]) & mask
    while words[index + at] != ZERO:
        at = (at + ONE) & mask
    words[index + at] = number


@inner
def forget_idle(words: Words, time_ns: U64) -> None:
    """Frees every row that was idle for more than the horizon, and rebuilds the index from the others.

    Freed windows keep their bytes: a session passes over each slot before it believes it (see `admit`).
    """
    for at in range(words[SESSION_INDEX_MASK] + ONE):
        words[words[SESSION_INDEX] + at] = ZERO
    for number in range(ONE, words[SESSION_FRESH] + ONE):
        row = words[SESSION_ROWS] + (number - ONE) * SESSION_WORDS
        if words[row + SESSION_USED] == ZERO:
            continue
        seen = words[row + SESSION_TIME_NS]
        if time_ns > seen and time_ns - seen > words[SESSION_HORIZON_NS]:
            words[row + SESSION_USED] = ZERO
            words[row + SESSION_NEXT_FREE] = words[SESSION_FREE]
            words[SESSION_FREE] = number
            words[SESSIONS] -= ONE
        else:
            enter(words, number)


@inner
def clear(words: Words, region: Bytes, row: U64, start: U64, end: U64) -> None:
    """Marks the sequences from `start` up to `end` (at most a window) as not seen."""
    window = words[row + SESSION_WINDOW]
    while start < end:
        region[window + (start & WINDOW_MASK)] = np.uint8(0)
        start += ONE


@inner
def admit(words: Words, region: Bytes, row: U64, sequence: U64) -> U64:
    """NEW where the record is to be applied, else its answer: the first result with DUPLICATE on top, or
    SEQUENCE_EXPIRED.

    A new highest sequence clears the slots that it skips. Where it skips a whole window it only notes that nothing
    before it is known: those slots are cleared when a lower sequence does come, so that leaping ahead costs nothing.
    """
    highest = words[row + SESSION_HIGHEST]
    if sequence > highest:
        if sequence - highest > WINDOW_BYTES:
            words[row + SESSION_FIRST] = sequence
            clear(words, region, row, sequence, sequence + ONE)
        else:
            clear(words, region, row, highest + ONE, sequence + ONE)
        words[row + SESSION_HIGHEST] = sequence
        return NEW
    if highest - sequence >= WINDOW_BYTES:
        return SEQUENCE_EXPIRED
    if sequence < words[row + SESSION_FIRST]:
        clear(words, region, row, sequence, words[row + SESSION_FIRST])
        words[row + SESSION_FIRST] = sequence
        return NEW
    result = np.uint64(region[words[row + SESSION_WINDOW] + (sequence & WINDOW_MASK)])
    return NEW if result == ZERO else result | DUPLICATE


@inner
def remember(words: Words, region: Bytes, row: U64, sequence: U64, result: U64) -> None:
    """Keeps the result of an admitted sequence, unless a later one of its chain has pushed it out of the window."""
    if words[row + SESSION_HIGHEST] - sequence < WINDOW_BYTES:
        region[words[row + SESSION_WINDOW] + (sequence & WINDOW_MASK)] = np.uint8(result)
