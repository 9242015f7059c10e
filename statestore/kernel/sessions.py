"""Sessions of clients: what makes a transaction that is sent twice take effect once.

A session holds the highest sequence of a client and the result bytes of its last 131,072 sequences, each in its
place in the deduplication window; 0 means not seen. Windows are sparse memory: a client costs the pages that its
sequences touch.

A sequence that leaps ahead makes the slots it skips unseen. Whole pages of them are only marked as stale, and zeroed
when one of their slots is next used, if ever: so no leap costs more than the two pages at its ends, nor touches more.
"""

from penstock.contract import result_code
from statestore.kernel.hashing import key_hash
from statestore.kernel.invariants import is_session
from statestore.kernel.kernel_types import InlineKey, Session
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
from txqueue.jit.debug_build import UNCHECKED
from txqueue.jit.decorators import inner
from txqueue.jit.native_types import U8, U64, Words, u64_range
from txqueue.jit.raw_memory import as_bytes, zero_bytes

NEW = U64(0)
"""The verdict on a sequence that was not seen before: the record is to be applied, and its result recorded."""
DUPLICATE = U64(result_code.DUPLICATE)
SEQUENCE_EXPIRED = U64(result_code.SEQUENCE_EXPIRED)
SESSIONS_EXHAUSTED = U64(result_code.SESSIONS_EXHAUSTED)
NO_SESSION = Session(ZERO)


@inner
def row_of(words: Words, number: U64) -> Session:
    """The row with this number, from 1."""
    assert UNCHECKED or (number != ZERO and number <= words[SESSION_CAPACITY]), "there is no session of this number"
    return Session(words[SESSION_ROWS] + (number - ONE) * SESSION_WORDS)


@inner
def slot_of(words: Words, client: U64) -> U64:
    """Word offset of the index slot with the number of a client's row, or of the empty one where it would stand."""
    index = words[SESSION_INDEX]
    mask = words[SESSION_INDEX_MASK]
    home = key_hash(words, InlineKey(client, ZERO, ZERO)) & mask
    at = home
    while words[index + at] != ZERO and words[row_of(words, words[index + at]) + SESSION_CLIENT] != client:
        at = (at + ONE) & mask
        assert UNCHECKED or at != home, "the index of sessions is full"
    return index + at


@inner
def session_for(words: Words, client: U64, time_ns: U64) -> Session:
    """A client's session, opened where it has none; NO_SESSION where all are in use."""
    slot = slot_of(words, client)
    if words[slot] != ZERO:
        session = row_of(words, words[slot])
        assert UNCHECKED or is_session(words, session), "the index of sessions names none, or its window is not its own"
        words[session + SESSION_TIME_NS] = time_ns
        return session
    if words[SESSION_COUNT] == words[SESSION_CAPACITY]:
        if words[SESSION_SWEEP_TIME] == time_ns:
            return NO_SESSION
        words[SESSION_SWEEP_TIME] = time_ns
        expire_idle_sessions(words, time_ns)
        if words[SESSION_COUNT] == words[SESSION_CAPACITY]:
            return NO_SESSION
        slot = slot_of(words, client)
    number = words[SESSION_FREE_LIST]
    if number != ZERO:
        words[SESSION_FREE_LIST] = words[row_of(words, number) + SESSION_NEXT_FREE]
    else:
        words[SESSION_ROWS_EVER_USED] += ONE
        number = words[SESSION_ROWS_EVER_USED]
    session = row_of(words, number)
    assert UNCHECKED or words[session + SESSION_IN_USE] == ZERO, "a session is opened that is in use"
    words[session + SESSION_CLIENT] = client
    words[session + SESSION_HIGHEST] = ZERO
    words[session + SESSION_STALE_PAGES] = DEDUP_PAGES_ALL
    words[session + SESSION_TIME_NS] = time_ns
    words[session + SESSION_WINDOW] = words[SESSION_WINDOWS] + (number - ONE) * DEDUP_WINDOW_BYTES
    words[session + SESSION_IN_USE] = ONE
    words[SESSION_COUNT] += ONE
    words[slot] = number
    return session


@inner
def expire_idle_sessions(words: Words, time_ns: U64) -> None:
    """Frees every session that was idle for more than the horizon, and rebuilds the index from the others.

    Freed windows keep their bytes: all pages of a new session are stale.
    """
    for at in u64_range(words[SESSION_INDEX_MASK] + ONE):
        words[words[SESSION_INDEX] + at] = ZERO
    for number in u64_range(ONE, words[SESSION_ROWS_EVER_USED] + ONE):
        session = row_of(words, number)
        if words[session + SESSION_IN_USE] == ZERO:
            continue
        seen = words[session + SESSION_TIME_NS]
        if time_ns > seen and time_ns - seen > words[SESSION_HORIZON_NS]:
            words[session + SESSION_IN_USE] = ZERO
            words[session + SESSION_NEXT_FREE] = words[SESSION_FREE_LIST]
            words[SESSION_FREE_LIST] = number
            words[SESSION_COUNT] -= ONE
        else:
            words[slot_of(words, words[session + SESSION_CLIENT])] = number


@inner
def clear_stale_page(words: Words, session: Session, sequence: U64) -> None:
    """Zeroes the page with a sequence's slot if it is stale; called before a slot is read or written."""
    page = (sequence & DEDUP_WINDOW_MASK) >> DEDUP_PAGE_SHIFT
    bit = ONE << page
    if words[session + SESSION_STALE_PAGES] & bit == ZERO:
        return
    words[session + SESSION_STALE_PAGES] ^= bit
    if words[session + SESSION_WRITTEN_PAGES] & bit != ZERO:
        zero_bytes(words, words[session + SESSION_WINDOW] + (page << DEDUP_PAGE_SHIFT), DEDUP_PAGE_BYTES)
    else:
        words[session + SESSION_WRITTEN_PAGES] |= bit
        words[SESSION_PAGE_COUNT] += ONE


@inner
def clear_skipped(words: Words, session: Session, start: U64, count: U64) -> None:
    """Makes the slots of `count` sequences from `start` unseen; `count` is a window at most."""
    while count != ZERO:
        at = start & DEDUP_WINDOW_MASK
        bit = ONE << (at >> DEDUP_PAGE_SHIFT)
        length = min(count, DEDUP_PAGE_BYTES - (at & DEDUP_PAGE_MASK))
        if length == DEDUP_PAGE_BYTES:
            words[session + SESSION_STALE_PAGES] |= bit
        elif words[session + SESSION_STALE_PAGES] & bit == ZERO:
            zero_bytes(words, words[session + SESSION_WINDOW] + at, length)
        start += length
        count -= length


@inner
def deduplicate(words: Words, session: Session, sequence: U64) -> U64:
    """The verdict on a sequence: NEW where its record is to be applied, else the record's result.

    That is the first result with DUPLICATE on top, or SEQUENCE_EXPIRED.
    """
    highest = words[session + SESSION_HIGHEST]
    if sequence > highest:
        clear_skipped(words, session, highest + ONE, min(sequence - highest, DEDUP_WINDOW_BYTES))
        clear_stale_page(words, session, sequence)
        words[session + SESSION_HIGHEST] = sequence
        return NEW
    if highest - sequence >= DEDUP_WINDOW_BYTES:
        return SEQUENCE_EXPIRED
    clear_stale_page(words, session, sequence)
    result = U64(as_bytes(words)[words[session + SESSION_WINDOW] + (sequence & DEDUP_WINDOW_MASK)])
    return NEW if result == ZERO else result | DUPLICATE


@inner
def write_result(words: Words, window: U64, sequence: U64, result: U64) -> None:
    """Writes a sequence's result into the window that begins at byte `window`."""
    assert UNCHECKED or result - ONE < DUPLICATE - ONE, "what is recorded is no result"
    as_bytes(words)[window + (sequence & DEDUP_WINDOW_MASK)] = U8(result)


@inner
def record_result(words: Words, session: Session, sequence: U64, result: U64) -> None:
    """Keeps the result of a new sequence, unless a later one of its chain has pushed it out of the window."""
    assert UNCHECKED or sequence <= words[session + SESSION_HIGHEST], "a result is recorded of a sequence not yet seen"
    if words[session + SESSION_HIGHEST] - sequence < DEDUP_WINDOW_BYTES:
        write_result(words, words[session + SESSION_WINDOW], sequence, result)
