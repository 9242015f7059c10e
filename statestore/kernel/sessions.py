"""Sessions: what makes a transaction that is sent twice take effect once.

A session holds the highest sequence of a client and the result bytes of its last 131,072 sequences, each in its
place in the window; 0 means not seen. Windows are sparse memory: a client costs the pages that its sequences touch.

A sequence that leaps ahead makes the slots it skips unseen. Whole pages of them are only marked as stale, and zeroed
when one of their slots is next used, if ever: so no leap costs more than the two pages at its ends, nor touches more.
"""

from penstock.contract import result_code
from statestore.kernel.hashing import key_hash
from statestore.kernel.layout import (
    DEDUP_PAGE_BYTES,
    DEDUP_PAGE_MASK,
    DEDUP_PAGE_SHIFT,
    DEDUP_PAGES_ALL,
    DEDUP_WINDOW_BYTES,
    DEDUP_WINDOW_MASK,
    ONE,
    SESSION_CAPACITY,
    SESSION_CLIENT,
    SESSION_COUNT,
    SESSION_FREE_LIST,
    SESSION_HIGHEST,
    SESSION_HORIZON_NS,
    SESSION_IN_USE,
    SESSION_INDEX,
    SESSION_INDEX_MASK,
    SESSION_NEXT_FREE,
    SESSION_PAGE_COUNT,
    SESSION_ROWS,
    SESSION_ROWS_EVER_USED,
    SESSION_STALE_PAGES,
    SESSION_SWEEP_TIME,
    SESSION_TIME_NS,
    SESSION_WINDOW,
    SESSION_WINDOWS,
    SESSION_WORDS,
    SESSION_WRITTEN_PAGES,
    ZERO,
)
from txqueue.jit.decorators import inner
from txqueue.jit.native_types import U8, U64, Bytes, Words, u64_range
from txqueue.jit.raw_memory import zero_bytes

NEW = U64(0)
"""The verdict on a sequence that was not seen before: the record is to be applied, and its result recorded."""
DUPLICATE = U64(result_code.DUPLICATE)
SEQUENCE_EXPIRED = U64(result_code.SEQUENCE_EXPIRED)
SESSIONS_EXHAUSTED = U64(result_code.SESSIONS_EXHAUSTED)


@inner
def session_for(words: Words, client: U64, time_ns: U64) -> U64:
    """Word offset of a client's row, made where it has none; 0 where no row can be had."""
    index = words[SESSION_INDEX]
    mask = words[SESSION_INDEX_MASK]
    at = key_hash(words, client, ZERO, ZERO) & mask
    while words[index + at] != ZERO:
        row = words[SESSION_ROWS] + (words[index + at] - ONE) * SESSION_WORDS
        if words[row + SESSION_CLIENT] == client:
            words[row + SESSION_TIME_NS] = time_ns
            return row
        at = (at + ONE) & mask
    if words[SESSION_COUNT] == words[SESSION_CAPACITY]:
        if words[SESSION_SWEEP_TIME] == time_ns:
            return ZERO
        words[SESSION_SWEEP_TIME] = time_ns
        expire_idle_sessions(words, time_ns)
        if words[SESSION_COUNT] == words[SESSION_CAPACITY]:
            return ZERO
    number = words[SESSION_FREE_LIST]
    if number != ZERO:
        words[SESSION_FREE_LIST] = words[words[SESSION_ROWS] + (number - ONE) * SESSION_WORDS + SESSION_NEXT_FREE]
    else:
        words[SESSION_ROWS_EVER_USED] += ONE
        number = words[SESSION_ROWS_EVER_USED]
    row = words[SESSION_ROWS] + (number - ONE) * SESSION_WORDS
    words[row + SESSION_CLIENT] = client
    words[row + SESSION_HIGHEST] = ZERO
    words[row + SESSION_STALE_PAGES] = DEDUP_PAGES_ALL
    words[row + SESSION_TIME_NS] = time_ns
    words[row + SESSION_WINDOW] = words[SESSION_WINDOWS] + (number - ONE) * DEDUP_WINDOW_BYTES
    words[row + SESSION_IN_USE] = ONE
    words[SESSION_COUNT] += ONE
    index_session(words, number)
    return row


@inner
def index_session(words: Words, number: U64) -> None:
    """Puts the row with this number (from 1) into the index."""
    index = words[SESSION_INDEX]
    mask = words[SESSION_INDEX_MASK]
    client = words[words[SESSION_ROWS] + (number - ONE) * SESSION_WORDS + SESSION_CLIENT]
    at = key_hash(words, client, ZERO, ZERO) & mask
    while words[index + at] != ZERO:
        at = (at + ONE) & mask
    words[index + at] = number


@inner
def expire_idle_sessions(words: Words, time_ns: U64) -> None:
    """Frees every row that was idle for more than the horizon, and rebuilds the index from the others.

    Freed windows keep their bytes: all pages of a new session are stale.
    """
    for at in u64_range(words[SESSION_INDEX_MASK] + ONE):
        words[words[SESSION_INDEX] + at] = ZERO
    for number in u64_range(ONE, words[SESSION_ROWS_EVER_USED] + ONE):
        row = words[SESSION_ROWS] + (number - ONE) * SESSION_WORDS
        if words[row + SESSION_IN_USE] == ZERO:
            continue
        seen = words[row + SESSION_TIME_NS]
        if time_ns > seen and time_ns - seen > words[SESSION_HORIZON_NS]:
            words[row + SESSION_IN_USE] = ZERO
            words[row + SESSION_NEXT_FREE] = words[SESSION_FREE_LIST]
            words[SESSION_FREE_LIST] = number
            words[SESSION_COUNT] -= ONE
        else:
            index_session(words, number)


@inner
def clear_stale_page(words: Words, region: Bytes, row: U64, sequence: U64) -> None:
    """Makes the page with a sequence's slot say what it is to be read as; called before a slot is read or written."""
    page = (sequence & DEDUP_WINDOW_MASK) >> DEDUP_PAGE_SHIFT
    bit = ONE << page
    if words[row + SESSION_STALE_PAGES] & bit == ZERO:
        return
    words[row + SESSION_STALE_PAGES] ^= bit
    if words[row + SESSION_WRITTEN_PAGES] & bit != ZERO:
        zero_bytes(region, words[row + SESSION_WINDOW] + (page << DEDUP_PAGE_SHIFT), DEDUP_PAGE_BYTES)
    else:
        words[row + SESSION_WRITTEN_PAGES] |= bit
        words[SESSION_PAGE_COUNT] += ONE


@inner
def clear_skipped(words: Words, region: Bytes, row: U64, start: U64, count: U64) -> None:
    """Makes the slots of `count` sequences from `start` unseen; `count` is a window at most."""
    while count != ZERO:
        at = start & DEDUP_WINDOW_MASK
        bit = ONE << (at >> DEDUP_PAGE_SHIFT)
        length = min(count, DEDUP_PAGE_BYTES - (at & DEDUP_PAGE_MASK))
        if length == DEDUP_PAGE_BYTES:
            words[row + SESSION_STALE_PAGES] |= bit
        elif words[row + SESSION_STALE_PAGES] & bit == ZERO:
            zero_bytes(region, words[row + SESSION_WINDOW] + at, length)
        start += length
        count -= length


@inner
def deduplicate(words: Words, region: Bytes, row: U64, sequence: U64) -> U64:
    """NEW where the record is to be applied, else its answer: the first result with DUPLICATE on top, or
    SEQUENCE_EXPIRED.
    """
    highest = words[row + SESSION_HIGHEST]
    if sequence > highest:
        clear_skipped(words, region, row, highest + ONE, min(sequence - highest, DEDUP_WINDOW_BYTES))
        clear_stale_page(words, region, row, sequence)
        words[row + SESSION_HIGHEST] = sequence
        return NEW
    if highest - sequence >= DEDUP_WINDOW_BYTES:
        return SEQUENCE_EXPIRED
    clear_stale_page(words, region, row, sequence)
    result = U64(region[words[row + SESSION_WINDOW] + (sequence & DEDUP_WINDOW_MASK)])
    return NEW if result == ZERO else result | DUPLICATE


@inner
def record_result(words: Words, region: Bytes, row: U64, sequence: U64, result: U64) -> None:
    """Keeps the result of a new sequence, unless a later one of its chain has pushed it out of the window."""
    if words[row + SESSION_HIGHEST] - sequence < DEDUP_WINDOW_BYTES:
        region[words[row + SESSION_WINDOW] + (sequence & DEDUP_WINDOW_MASK)] = U8(result)
