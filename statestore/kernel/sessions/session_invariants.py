"""Invariants of sessions, which kernels of a debug build check; see :mod:`txqueue.jit.debug_build`."""

from statestore.kernel.kernel_types import Session
from statestore.kernel.layout import (
    ONE,
    PAGE_CLIENT,
    PAGE_COUNT,
    PAGE_NEXT,
    SESSION_CLIENT,
    SESSION_COUNT,
    SESSION_HEADS,
    SESSION_LAST_USE,
    SESSION_NEWEST_PAGE,
    SESSION_NEXT,
    SESSION_PREVIOUS,
    SESSION_ROWS_USED,
    SESSION_WORDS,
    SESSIONS,
    ZERO,
)
from txqueue.jit.decorators import inner
from txqueue.jit.native_types import Words, u64_range


@inner
def is_session(words: Words, session: Session) -> bool:
    """Whether the row of a session that is in use begins here."""
    first = words[SESSIONS] + SESSION_HEADS * SESSION_WORDS
    if session < first:
        return False
    row = (session - first) // SESSION_WORDS
    return (
        row < words[SESSION_ROWS_USED]
        and first + row * SESSION_WORDS == session
        and words[session + SESSION_PREVIOUS] != ZERO
    )


@inner
def sessions_are_conserved(words: Words) -> bool:
    """Whether the orders of use hold the sessions that are counted, oldest first, and these the pages counted."""
    sessions = pages = ZERO
    for number in u64_range(SESSION_HEADS):
        head = words[SESSIONS] + number * SESSION_WORDS
        session = words[head + SESSION_NEXT]
        used = ZERO
        while session != head:
            if not is_session(words, Session(session)) or words[session + SESSION_LAST_USE] < used:
                return False
            used = words[session + SESSION_LAST_USE]
            sessions += ONE
            newest = words[session + SESSION_NEWEST_PAGE]
            page = newest
            while page != ZERO:
                if words[page + PAGE_CLIENT] != words[session + SESSION_CLIENT]:
                    return False
                pages += ONE
                page = words[page + PAGE_NEXT]
                if page == newest:
                    break
            session = words[session + SESSION_NEXT]
    return sessions == words[SESSION_COUNT] and pages == words[PAGE_COUNT]
