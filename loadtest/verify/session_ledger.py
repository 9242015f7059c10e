"""Ledger of idempotency keys: for each key what was done under it, and what was answered first.

It is written from what clients are promised and not from the way the node keeps it: a key is a dictionary's key, what
stands under it is all of the transaction's content and not a fingerprint, and forgetting is deleting.
"""

from dataclasses import dataclass, field
from itertools import takewhile
from typing import Final, Protocol

OK: Final = 1
SEQUENCE_EXPIRED, SESSIONS_EXHAUSTED, SEQUENCE_REUSED = 11, 12, 13
DUPLICATE: Final = 128
END_SESSION, SET_SESSION_BOUNDS = 8, 9

NEW, AGAIN = 0, 256
"""Verdicts besides the answers: the key is new; it is that of an earlier transaction of the same chain, sent twice."""

WINDOW: Final = 131_072
"""Sequences that a session remembers, counted back from its highest."""
PAGE_SEQUENCES: Final = 32

Key = tuple[int, int]
"""Client id and sequence."""


class Keyed(Protocol):
    """A transaction, as far as its key is concerned."""

    @property
    def client_id(self) -> int:
        """Whose it is."""

    @property
    def sequence(self) -> int:
        """Its number."""

    @property
    def operation(self) -> int:
        """What it does."""

    @property
    def content(self) -> bytes:
        """What it is: all of it but the key, and but for being linked to the next."""


@dataclass(frozen=True, slots=True)
class SessionBounds:
    """Sessions at most, nanoseconds of session time for which an idle one is kept, pages of 32 results at most."""

    sessions: int = 262_144
    horizon_ns: int = 3_600_000_000_000
    pages: int = 1 << 22


@dataclass(slots=True)
class Session:
    """One client. Sequences up to ``floor`` were forgotten when an earlier session of it was ended.

    Times are session times. ``end_sequence`` is that of the latest END_SESSION, which is still answered.
    ``pages`` holds page numbers in the order in which they were taken.
    """

    last_use: int
    highest: int = 0
    floor: int = 0
    ended_at: int = 0
    end_sequence: int = 0
    pages: dict[int, None] = field(default_factory=dict)


class SessionLedger:
    """All keys that are known, the sessions that they belong to, and the time by which sessions age."""

    def __init__(self, bounds: SessionBounds | None = None) -> None:
        self.bounds = bounds or SessionBounds()
        self.time = 0
        self.pages = 0
        """Pages in use."""
        self._block_time_ns = 0
        self._done: dict[Key, tuple[bytes, int]] = {}
        self._live: dict[int, Session] = {}
        """Least recently used first."""
        self._ended: dict[int, Session] = {}
        """Longest ended first."""

    def highest(self) -> dict[int, int]:
        """Every client's highest sequence, of ended sessions too."""
        return {client: session.highest for client, session in (self._live | self._ended).items()}

    def begin_block(self, time_ns: int) -> None:
        """Let session time go on to a block's, by a sixteenth of the horizon at most and never back."""
        if self._block_time_ns:
            self.time += min(max(time_ns - self._block_time_ns, 0), self.bounds.horizon_ns // 16)
        self._block_time_ns = time_ns

    def look_up(self, transaction: Keyed) -> int:
        """The answer that a key has already, or a refusal, or ``AGAIN``, or ``NEW``.

        Where it is new, the key is the transaction's from now on, and the caller owes :meth:`decide`.
        """
        if transaction.operation == SET_SESSION_BOUNDS:  # the node's own: it has no key
            return NEW
        client, sequence = transaction.client_id, transaction.sequence
        is_end = transaction.operation == END_SESSION
        session = self._ended.get(client)
        if session is not None:
            if sequence <= session.highest:
                return self._known(transaction) or SEQUENCE_EXPIRED
            if not is_end and not self._open_again(client, session, sequence):
                return SESSIONS_EXHAUSTED
        else:
            session = self._used_now(client)
            if session is None:
                return SESSIONS_EXHAUSTED
            if sequence != session.end_sequence and sequence <= session.highest - WINDOW:
                return SEQUENCE_EXPIRED
            if known := self._known(transaction):
                return known
            if sequence <= (session.highest if is_end else session.floor):
                return SEQUENCE_EXPIRED
            if not is_end and not self._take_page(client, session, sequence):
                return SESSIONS_EXHAUSTED
        session.highest = max(session.highest, sequence)
        self._done[client, sequence] = transaction.content, AGAIN
        return NEW

    def decide(self, transaction: Keyed, answer: int) -> None:
        """Remember the first answer to a new transaction."""
        key = transaction.client_id, transaction.sequence
        if key in self._done:  # not where a later one of its chain went 131,072 sequences on
            self._done[key] = transaction.content, answer

    def end(self, transaction: Keyed) -> None:
        """Forget all that the client was answered, but for the answer to this: the effect of END_SESSION."""
        client = transaction.client_id
        if (session := self._live.pop(client, None)) is None:
            session = self._ended.pop(client)
        self._forget(client, session)
        self._done[client, transaction.sequence] = transaction.content, AGAIN
        session.ended_at, session.end_sequence = self.time, transaction.sequence
        self._ended[client] = session

    def _known(self, transaction: Keyed) -> int:
        """What is known of the key: 0 for nothing."""
        content, answer = self._done.get((transaction.client_id, transaction.sequence), (None, NEW))
        if content is None:
            return NEW
        if content != transaction.content:
            return SEQUENCE_REUSED
        return answer if answer == AGAIN else answer | DUPLICATE

    def _used_now(self, client: int) -> Session | None:
        """A client's session, new for a new client; None where there is no room."""
        session = self._live.get(client)
        if session is None:
            while self._is_crowded():
                if not self._make_room():
                    return None
            session = self._live[client] = Session(self.time)
        elif session.last_use != self.time:
            session.last_use = self.time
            self._live[client] = self._live.pop(client)
        return session

    def _is_crowded(self) -> bool:
        """Whether a newcomer is one too many: the last sixteenth of the pages is for clients that are known."""
        sessions, free = len(self._live) + len(self._ended), max(self.bounds.pages - self.pages, 0)
        return sessions >= self.bounds.sessions or 16 * free < self.bounds.pages

    def _open_again(self, client: int, session: Session, sequence: int) -> bool:
        if not self._take_page(client, session, sequence):
            return False
        del self._ended[client]
        session.floor = session.highest
        session.last_use = self.time
        self._live[client] = session
        return True

    def _take_page(self, client: int, session: Session, sequence: int) -> bool:
        """Have a page for a sequence's result; False where none is free and nobody makes room."""
        page = sequence // PAGE_SEQUENCES
        if page in session.pages:
            return True
        behind = max(session.highest, sequence) - WINDOW
        expired = list(takewhile(lambda old: _last_sequence(old) <= behind, session.pages))
        while self.pages - len(expired) >= self.bounds.pages:
            if not self._make_room(session):
                return False
        self._forget_pages(client, session, expired)
        session.pages[page] = None
        self.pages += 1
        return True

    def _make_room(self, asking: Session | None = None) -> bool:
        """Drop one session that may go, other than the one that asks; False where there is none."""
        horizon_ns = self.bounds.horizon_ns
        for sessions, kept_ns in ((self._ended, horizon_ns // 4), (self._live, horizon_ns)):
            for client, session in sessions.items():
                if session is asking:
                    continue
                since = session.ended_at if sessions is self._ended else session.last_use
                if self.time - since <= kept_ns:
                    break
                del sessions[client]
                self._forget(client, session)
                return True
        return False

    def _forget(self, client: int, session: Session) -> None:
        self._forget_pages(client, session, list(session.pages))
        self._done.pop((client, session.end_sequence), None)

    def _forget_pages(self, client: int, session: Session, pages: list[int]) -> None:
        for page in pages:
            del session.pages[page]
            self.pages -= 1
            for sequence in range(page * PAGE_SEQUENCES, _last_sequence(page) + 1):
                self._done.pop((client, sequence), None)


def _last_sequence(page: int) -> int:
    return page * PAGE_SEQUENCES + PAGE_SEQUENCES - 1
