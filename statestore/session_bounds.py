"""Bounds on sessions: how many clients are remembered, for how long, and in how much memory.

They decide what transactions are answered, so every node has the same ones at the same place in the log: the log's
metadata hold the first ones, and SET_SESSION_BOUNDS transactions change them.
"""

from dataclasses import dataclass
from typing import Final, Self

from statestore.kernel.layout import PAGE_COST_BYTES, SESSION_BYTES, SESSION_CAPACITY_MAX

CAPACITY: Final = 262_144
HORIZON_NS: Final = 3_600_000_000_000
BYTES_MAX: Final = 1 << 30
HORIZON_NS_MIN: Final = 16
"""Session time moves by sixteenths of the horizon at most."""


@dataclass(frozen=True, slots=True)
class SessionBounds:
    """Bounds on sessions, as they are in force from one transaction to another.

    Raises:
        ValueError: a bound makes no sense.
    """

    capacity: int
    """Clients remembered at most; up to 1,048,576."""
    horizon_ns: int
    """A client that is idle for less, in ns of session time, is not forgotten; one that has ended, for a quarter."""
    page_capacity: int
    """Pages of results at most, of 32 sequences of one client each."""

    def __post_init__(self) -> None:
        if not 1 <= self.capacity <= SESSION_CAPACITY_MAX:
            raise ValueError(f"session_capacity is {self.capacity}; allow 1 to {SESSION_CAPACITY_MAX} sessions")
        if not HORIZON_NS_MIN <= self.horizon_ns < 1 << 63:
            raise ValueError(f"session_horizon_ns is {self.horizon_ns}; allow at least {HORIZON_NS_MIN}")
        if self.page_capacity < 1:
            raise ValueError("session_bytes_max leaves no room for results; allow more")

    @classmethod
    def of_bytes(cls, capacity: int, horizon_ns: int, session_bytes_max: int) -> Self:
        """Bounds that keep sessions and their results within `session_bytes_max`.

        There are as many pages as fit besides the sessions; where half of the memory does not hold `capacity` sessions,
        there are as many sessions as it does hold.
        """
        capacity = min(capacity, max(1, session_bytes_max // 2 // SESSION_BYTES))
        return cls(capacity, horizon_ns, (session_bytes_max - capacity * SESSION_BYTES) // PAGE_COST_BYTES)

    @classmethod
    def within(cls, bytes_max: int, capacity: int = CAPACITY, horizon_ns: int = HORIZON_NS) -> Self:
        """Bounds that suit a state of `bytes_max`: an eighth of it, and 1 GiB at most."""
        return cls.of_bytes(capacity, horizon_ns, min(BYTES_MAX, bytes_max // 8))

    @property
    def bytes_max(self) -> int:
        """Memory of sessions and their results, in bytes, where the bounds are reached."""
        return self.capacity * SESSION_BYTES + self.page_capacity * PAGE_COST_BYTES
