"""Table of sessions: one row per client that is remembered, and the orders in which they make room for others.

The ages of sessions are measured by *session time*. It follows the blocks' times, but no block moves it by more than a
sixteenth of the horizon, and none moves it back: a clock that jumps makes nobody's session old.

Room for a new client, or for a page, is made by one session at a time: by the one that was ended first, once its end
lies a quarter of the horizon back, else by the least recently used one, once it was idle for the whole horizon. A
client that is idle for less is never forgotten. Below a sixteenth of free pages no newcomer is let in, so that invented
clients run out of room before known ones do.

An ended session keeps its row for a while, though no results: transactions that were still on their way when it ended
must not be taken for new ones.
"""

from statestore.kernel.hashing import key_hash
from statestore.kernel.kernel_types import InlineKey, Session
from statestore.kernel.layout import (
    BLOCK_TIME,
    ONE,
    PAGE_CAPACITY,
    PAGE_COUNT,
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
from statestore.kernel.sessions.offset_index import OFFSET, home_slot, insert_slot, next_slot, remove_slot
from statestore.kernel.sessions.order_of_use import ended_head, link_last, live_head, unlink
from statestore.kernel.sessions.result_pages import free_all_pages
from statestore.kernel.sessions.session_invariants import is_session
from txqueue.jit.debug_build import UNCHECKED
from txqueue.jit.decorators import inner
from txqueue.jit.native_types import U64, Words

NO_SESSION = Session(ZERO)
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
