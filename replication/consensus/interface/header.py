"""Header: what the protocol sees of a block. Bodies never pass through it."""

from dataclasses import dataclass
from typing import Final, Self

from replication.log.ballot import NO_BALLOT, Ballot


@dataclass(frozen=True, slots=True)
class Tip:
    """The end of a log: what the next block has to follow."""

    index: int
    """Index of the last block; 0 where there is none."""
    ballot: Ballot
    """The ballot under which it was sealed."""
    hash: bytes
    """Its header's hash, which covers all blocks before it; empty where there is none."""
    next_position: int
    """Number of the first transaction of the next block."""
    time_ns: int
    """Its time, Unix; the next block's must be later."""

    @property
    def rank(self) -> tuple[Ballot, int]:
        """What decides which of two logs holds everything that may be committed: the higher rank does."""
        return self.ballot, self.index


EMPTY: Final = Tip(0, NO_BALLOT, b"", 0, 0)
"""The end of a log without blocks."""


@dataclass(frozen=True, slots=True)
class Header:
    """A block's header. Equal ballot and index mean an equal block: a ballot's one leader writes each index once."""

    index: int
    ballot: Ballot
    """The ballot under which the block was sealed. A later leader sends it on as it is."""
    hash: bytes
    previous_hash: bytes
    """Hash of the block before it; empty in the log's first block."""
    next_position: int
    time_ns: int
    stored_bytes: int
    """Bytes that the block takes in the log."""

    @property
    def tip(self) -> Tip:
        """The end of a log whose last block this is."""
        return Tip(self.index, self.ballot, self.hash, self.next_position, self.time_ns)

    @classmethod
    def after(cls, tip: Tip, ballot: Ballot, hash_: bytes, count: int, time_ns: int, stored_bytes: int) -> Self:
        """Return the header of a block of ``count`` transactions that follows ``tip``."""
        assert time_ns > tip.time_ns
        return cls(tip.index + 1, ballot, hash_, tip.hash, tip.next_position + count, time_ns, stored_bytes)
