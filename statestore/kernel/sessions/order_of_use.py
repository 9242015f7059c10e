"""Orders in which sessions make room: two rings of rows, of live sessions by last use and of ended ones by their end.

A ring begins and ends at its head, a row that is no session, so that no link is ever a special case.
"""

from statestore.kernel.kernel_types import Session
from statestore.kernel.layout import SESSION_NEXT, SESSION_PREVIOUS, SESSION_WORDS, SESSIONS, ZERO
from txqueue.jit.debug_build import UNCHECKED
from txqueue.jit.decorators import inner
from txqueue.jit.native_types import Words


@inner
def live_head(words: Words) -> Session:
    """Head of the live sessions."""
    return Session(words[SESSIONS])


@inner
def ended_head(words: Words) -> Session:
    """Head of the ended sessions."""
    return Session(words[SESSIONS] + SESSION_WORDS)


@inner
def link_last(words: Words, session: Session, head: Session) -> None:
    """Puts a session at the end of the order that begins at a head."""
    last = words[head + SESSION_PREVIOUS]
    words[session + SESSION_PREVIOUS] = last
    words[session + SESSION_NEXT] = head
    words[last + SESSION_NEXT] = session
    words[head + SESSION_PREVIOUS] = session


@inner
def unlink(words: Words, session: Session) -> None:
    """Takes a session out of the order it is in."""
    before = words[session + SESSION_PREVIOUS]
    after = words[session + SESSION_NEXT]
    assert UNCHECKED or before != ZERO, "a free row is taken out of an order"
    assert UNCHECKED or words[before + SESSION_NEXT] == session, "the order of sessions is broken"
    words[before + SESSION_NEXT] = after
    words[after + SESSION_PREVIOUS] = before
    words[session + SESSION_PREVIOUS] = ZERO
