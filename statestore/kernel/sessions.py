"""Sessions of clients: what makes a transaction that is sent twice take effect once.

A session holds the highest sequence of a client, and the results of its last 131,072 sequences in pages
(:mod:`statestore.kernel.result_pages`), each with the fingerprint of its transaction: another transaction under a used
key is told apart from the same one sent again.

The ages of sessions are measured by *session time*. It follows the blocks' times, but no block moves it by more than a
sixteenth of the horizon, and none moves it back: a clock that jumps makes nobody's session old.

Room for a new client, or for a page, is made by one session at a time: by the one that was ended first, once its end
lies a quarter of the horizon back, else by the least recently used one, once it was idle for the whole horizon. A
client that is idle for less is never forgotten. Below a sixteenth of free pages no newcomer is let in, so that invented
clients run out of room before known ones do.

An ended session keeps its row for a while, though no results: transactions that were still on their way when it ended
must not be taken for new ones.
"""

from penstock.contract import result_code
from statestore.kernel.fingerprint import RESULT_MASK
from statestore.kernel.hashing import key_hash
from statestore.kernel.invariants import is_session
from statestore.kernel.kernel_types import InlineKey, Session
from statestore.kernel.layout import (
    BLOCK_TIME,
    ONE,
    PAGE_CAPACITY,
    PAGE_COUNT,
    PAGE_SEQUENCE_SHIFT,
    RESULT_WINDOW,
    SESSION_CAPACITY,
    SESSION_CLIENT,
    SESSION_COUNT,
    SESSION_ENDED_AT,
    SESSION_FREE_LIST,
    SESSION_HEADS,
    SESSION_HIGHEST,
    SESSION_HORIZON_NS,
    SESSION_INDEX,
    SESSION_INDEX_MASK,
    SESSION_LAST_USE,
    SESSION_NEWEST_PAGE,
    SESSION_NEXT,
    SESSION_PAGE,
    SESSION_PREVIOUS,
    SESSION_ROWS_USED,
    SESSION_TIME,
    SESSION_WORDS,
    SESSIONS,
    ZERO,
)
from statestore.kernel.offset_index import OFFSET, home_slot, insert_slot, next_slot, remove_slot
from statestore.kernel.order_of_use import ended_head, link_last, live_head, unlink
from statestore.kernel.result_pages import (
    NO_PAGE,
    expired_pages,
    find_page,
    free_all_pages,
    free_oldest_page,
    give_page,
    slot_of_sequence,
)
from txqueue.jit.debug_build import UNCHECKED
from txqueue.jit.decorators import inner
from txqueue.jit.native_types import U64, Words, u64_range

NEW = U64(0)
"""The verdict on a transaction that was not seen before: it is to be applied, and its result recorded."""
OK = U64(result_code.OK)
DUPLICATE = U64(result_code.DUPLICATE)
SEQUENCE_EXPIRED = U64(result_code.SEQUENCE_EXPIRED)
SESSIONS_EXHAUSTED = U64(result_code.SESSIONS_EXHAUSTED)
SEQUENCE_REUSED = U64(result_code.SEQUENCE_REUSED)
PENDING = U64(127)
"""In place of a result, while the chain that the transaction is part of is under way."""
NO_SESSION = Session(ZERO)
NO_SLOT = ZERO
JUMP_SHIFT = U64(4)
ENDED_SHIFT = U64(2)
RESERVE_SHIFT = U64(4)


@inner
def advance_session_time(words: Words, time_ns: U64) -> None:
    """Moves session time on to a block of this time."""
    before = words[BLOCK_TIME]
    if before != ZERO and time_ns > before:
        words[SESSION_TIME] += min(time_ns - before, words[SESSION_HORIZON_NS] >> JUMP_SHIFT)
    words[BLOCK_TIME] = time_ns


@inner
def client_hash(words: Words, client: U64) -> U64:
    """Hash of a client's id."""
    return key_hash(words, InlineKey(client, ZERO, ZERO))


@inner
def is_ended(words: Words, session: Session) -> bool:
    """Whether a session was ended, and not opened again since."""
    return (
        words[session + SESSION_ENDED_AT] != ZERO
        and words[session + SESSION_ENDED_AT] == words[session + SESSION_HIGHEST]
    )


@inner
def session_for(words: Words, client: U64) -> Session:
    """A client's session, opened where it has none, and used now; NO_SESSION where there is no room."""
    hashed = client_hash(words, client)
    slot = home_slot(words[SESSION_INDEX], words[SESSION_INDEX_MASK], hashed)
    while words[slot + OFFSET] != ZERO:
        session = Session(words[slot + OFFSET])
        if words[session + SESSION_CLIENT] == client:
            assert UNCHECKED or is_session(words, session), "the index of sessions leads to none"
            use_now(words, session)
            return session
        slot = next_slot(words[SESSION_INDEX], words[SESSION_INDEX_MASK], slot)
    return open_session(words, client, hashed)


@inner
def use_now(words: Words, session: Session) -> None:
    """Notes that a live session is used in this block; an ended one does not grow younger by being asked."""
    if words[session + SESSION_LAST_USE] == words[SESSION_TIME] or is_ended(words, session):
        return
    words[session + SESSION_LAST_USE] = words[SESSION_TIME]
    unlink(words, session)
    link_last(words, session, live_head(words))


@inner
def open_session(words: Words, client: U64, hashed: U64) -> Session:
    """A session for a client that has none, or NO_SESSION where there is no room for one."""
    while words[SESSION_COUNT] >= words[SESSION_CAPACITY] or pages_are_short(words):
        if not make_room(words, NO_SESSION):
            return NO_SESSION
    session = Session(words[SESSION_FREE_LIST])
    if session != ZERO:
        words[SESSION_FREE_LIST] = words[session + SESSION_NEXT]
    else:
        session = Session(words[SESSIONS] + (SESSION_HEADS + words[SESSION_ROWS_USED]) * SESSION_WORDS)
        words[SESSION_ROWS_USED] += ONE
    assert UNCHECKED or words[session + SESSION_PREVIOUS] == ZERO, "a session is opened that is in use"
    words[session + SESSION_CLIENT] = client
    words[session + SESSION_HIGHEST] = ZERO
    words[session + SESSION_PAGE] = ZERO
    words[session + SESSION_NEWEST_PAGE] = ZERO
    words[session + SESSION_ENDED_AT] = ZERO
    words[session + SESSION_LAST_USE] = words[SESSION_TIME]
    link_last(words, session, live_head(words))
    insert_slot(words, words[SESSION_INDEX], words[SESSION_INDEX_MASK], hashed, session)
    words[SESSION_COUNT] += ONE
    return session


@inner
def pages_are_short(words: Words) -> bool:
    """Whether so few pages are free that they are kept for clients that are known already."""
    if words[PAGE_COUNT] >= words[PAGE_CAPACITY]:
        return True
    return words[PAGE_CAPACITY] - words[PAGE_COUNT] << RESERVE_SHIFT < words[PAGE_CAPACITY]


@inner
def make_room(words: Words, keep: Session) -> bool:
    """Forgets the session that is the first to make room, but not `keep`; returns whether there was one that may."""
    now = words[SESSION_TIME]
    horizon_ns = words[SESSION_HORIZON_NS]
    session = Session(words[ended_head(words) + SESSION_NEXT])
    if session == keep and session != NO_SESSION:
        session = Session(words[session + SESSION_NEXT])
    if session != ended_head(words) and now - words[session + SESSION_LAST_USE] > horizon_ns >> ENDED_SHIFT:
        forget(words, session)
        return True
    session = Session(words[live_head(words) + SESSION_NEXT])
    if session != live_head(words) and now - words[session + SESSION_LAST_USE] > horizon_ns:
        forget(words, session)
        return True
    return False


@inner
def forget(words: Words, session: Session) -> None:
    """Frees a session's row and pages."""
    assert UNCHECKED or is_session(words, session), "what is forgotten is no session"
    free_all_pages(words, session)
    unlink(words, session)
    hashed = client_hash(words, words[session + SESSION_CLIENT])
    remove_slot(words, words[SESSION_INDEX], words[SESSION_INDEX_MASK], hashed, session)
    words[session + SESSION_NEXT] = words[SESSION_FREE_LIST]
    words[SESSION_FREE_LIST] = session
    words[SESSION_COUNT] -= ONE


@inner
def answer_again(slot: U64, mark: U64) -> U64:
    """The answer to a transaction of fingerprint `mark` whose key was used by the one in `slot`."""
    if (slot ^ mark) & ~RESULT_MASK != ZERO:
        return SEQUENCE_REUSED
    return (slot & RESULT_MASK) | DUPLICATE


@inner
def has_expired(highest: U64, sequence: U64) -> bool:
    """Whether a sequence lies so far below the highest that its result is not remembered."""
    return sequence <= highest and highest - sequence >= RESULT_WINDOW


@inner
def judge(words: Words, session: Session, sequence: U64, mark: U64) -> tuple[U64, U64]:
    """The verdict on a transaction, and the slot of its result.

    Args:
        words: the state's region.
        session: of its client, as `session_for` found it.
        sequence: its sequence.
        mark: its fingerprint.

    Returns:
        NEW and an empty slot, where the result is to be recorded. Or else the transaction's answer (the first result
        with DUPLICATE, SEQUENCE_REUSED, SEQUENCE_EXPIRED or SESSIONS_EXHAUSTED), and the slot of the first result or
        NO_SLOT.
    """
    ended_at = words[session + SESSION_ENDED_AT]
    highest = words[session + SESSION_HIGHEST]
    if has_expired(highest, sequence):
        return SEQUENCE_EXPIRED, NO_SLOT
    if sequence <= ended_at:
        return SEQUENCE_REUSED if sequence == ended_at else SEQUENCE_EXPIRED, NO_SLOT
    number = sequence >> PAGE_SEQUENCE_SHIFT
    page = NO_PAGE
    if number <= highest >> PAGE_SEQUENCE_SHIFT:  # else it was never taken
        page = find_page(words, session, number)
    if page != NO_PAGE:
        slot = slot_of_sequence(page, sequence)
        if words[slot] != ZERO:
            return answer_again(words[slot], mark), slot
    else:
        expired = expired_pages(words, session, max(highest, sequence))
        while words[PAGE_COUNT] - expired >= words[PAGE_CAPACITY]:
            if not make_room(words, session):
                return SESSIONS_EXHAUSTED, NO_SLOT
        if is_ended(words, session):  # which this transaction opens again
            words[session + SESSION_LAST_USE] = words[SESSION_TIME]
            unlink(words, session)
            link_last(words, session, live_head(words))
        for _ in u64_range(expired):
            free_oldest_page(words, session)
        page = give_page(words, session, number)
    if sequence > highest:
        words[session + SESSION_HIGHEST] = sequence
        words[session + SESSION_PAGE] = page
    return NEW, slot_of_sequence(page, sequence)


@inner
def end_session(words: Words, session: Session, sequence: U64, mark: U64) -> U64:
    """END_SESSION of fingerprint `mark`: its answer.

    The results are forgotten, and with them all that would tell a transaction sent again from a new one; so every
    sequence up to this one has expired, for as long as the session's row is kept.
    """
    if has_expired(words[session + SESSION_HIGHEST], sequence):
        return SEQUENCE_EXPIRED
    if sequence <= words[session + SESSION_HIGHEST]:
        if sequence == words[session + SESSION_ENDED_AT]:
            return OK | DUPLICATE
        page = find_page(words, session, sequence >> PAGE_SEQUENCE_SHIFT)
        if page != NO_PAGE and words[slot_of_sequence(page, sequence)] != ZERO:
            return answer_again(words[slot_of_sequence(page, sequence)], mark)
        return SEQUENCE_EXPIRED
    free_all_pages(words, session)
    words[session + SESSION_HIGHEST] = sequence
    words[session + SESSION_ENDED_AT] = sequence
    words[session + SESSION_LAST_USE] = words[SESSION_TIME]
    unlink(words, session)
    link_last(words, session, ended_head(words))
    return OK
