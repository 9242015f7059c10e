"""The promise of exactly-once, over Python dicts: which transaction is new, and what the others are answered.

A result is remembered for a client's last 131,072 sequences, in pages of 32; a page counts while one of its results is
remembered. None is the result of a transaction whose chain is under way.
"""

from dataclasses import dataclass, field, replace
from itertools import takewhile

from tests.statestore.blocks import Tx

WINDOW = 131_072
OK, SEQUENCE_EXPIRED, SESSIONS_EXHAUSTED, SEQUENCE_REUSED = 1, 11, 12, 13
DUPLICATE = 128


def content(tx: Tx) -> Tx:
    """All that tells one transaction from another under the same key: not LINKED, its place in a chain."""
    return replace(tx, client=0, sequence=0, flags=tx.flags & ~1)


@dataclass
class Session:
    client: int
    highest: int = 0
    ended_at: int = 0
    last_use: int = 0
    pages: list[int] = field(default_factory=list)
    results: dict[int, tuple[Tx, int | None]] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        return 0 < self.ended_at == self.highest

    def expired_pages(self, highest: int) -> list[int]:
        """Pages that have nothing of the window below this sequence, until the first, as they were taken, that has."""
        return list(takewhile(lambda page: highest - (page * 32 + 31) >= WINDOW, self.pages))


@dataclass
class Sessions:
    """Two orders, by last use and by end; the first of either makes room."""

    capacity: int = 1 << 20
    horizon: int = 3_600_000_000_000
    page_capacity: int = 1 << 40
    time: int = 0
    block_time: int = 0
    live: dict[int, Session] = field(default_factory=dict)
    ended: dict[int, Session] = field(default_factory=dict)

    def begin_block(self, time_ns: int) -> None:
        if self.block_time:
            self.time += min(max(time_ns - self.block_time, 0), self.horizon // 16)
        self.block_time = time_ns

    @property
    def pages_free(self) -> int:
        return self.page_capacity - sum(len(session.pages) for session in self.live.values())

    def make_room(self, keep: Session | None = None) -> bool:
        for order, idle in ((self.ended, self.horizon // 4), (self.live, self.horizon)):
            oldest = next((session for session in order.values() if session is not keep), None)
            if oldest is not None and self.time - oldest.last_use > idle:
                del order[oldest.client]
                return True
        return False

    def find(self, client: int) -> Session | None:
        if client in self.ended:
            return self.ended[client]
        session = self.live.get(client)
        if session is None:
            while (
                len(self.live) + len(self.ended) >= self.capacity
                or self.pages_free <= 0
                or self.pages_free * 16 < self.page_capacity
            ):
                if not self.make_room():
                    return None
            session = self.live[client] = Session(client, last_use=self.time)
        elif session.last_use != self.time:
            self.live[client] = self.live.pop(client)
            session.last_use = self.time
        return session

    def judge(self, tx: Tx) -> int | None:
        """The answer, or None where the transaction is new. PENDING answers are DUPLICATE alone."""
        session = self.find(tx.client)
        if session is None:
            return SESSIONS_EXHAUSTED
        if tx.sequence < session.ended_at or session.highest - tx.sequence >= WINDOW:
            return SEQUENCE_EXPIRED
        if tx.sequence == session.ended_at:
            return SEQUENCE_REUSED
        if tx.sequence in session.results:
            known, result = session.results[tx.sequence]
            return SEQUENCE_REUSED if known != content(tx) else (result or 0) | DUPLICATE
        if tx.sequence // 32 not in session.pages:
            highest = max(session.highest, tx.sequence)
            while self.pages_free + len(session.expired_pages(highest)) <= 0:
                if not self.make_room(keep=session):
                    return SESSIONS_EXHAUSTED
            if session.ended:
                self.live[tx.client] = self.ended.pop(tx.client)
                session.last_use = self.time
            for gone in session.expired_pages(highest):
                session.pages.remove(gone)
                session.results = {s: known for s, known in session.results.items() if s // 32 != gone}
            session.pages.append(tx.sequence // 32)
        session.results[tx.sequence] = (content(tx), None)
        session.highest = max(session.highest, tx.sequence)
        return None

    def record(self, tx: Tx, result: int) -> None:
        """Remember the result of a new transaction, unless its own chain has pushed it out of the window."""
        session = self.live[tx.client]
        if tx.sequence in session.results:
            session.results[tx.sequence] = (content(tx), result)

    def end(self, tx: Tx) -> int:
        """END_SESSION: its answer."""
        session = self.find(tx.client)
        if session is None:
            return SESSIONS_EXHAUSTED
        if session.highest - tx.sequence >= WINDOW:
            return SEQUENCE_EXPIRED
        if tx.sequence <= session.highest:
            if tx.sequence == session.ended_at:
                return OK | DUPLICATE
            known = session.results.get(tx.sequence)
            return SEQUENCE_EXPIRED if known is None else SEQUENCE_REUSED
        session.highest = session.ended_at = tx.sequence
        session.pages, session.results, session.last_use = [], {}, self.time
        self.live.pop(tx.client, None)
        self.ended.pop(tx.client, None)
        self.ended[tx.client] = session
        return OK
