"""What a pool has done and how it stands."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PoolMetrics:
    """A pool at one moment. Counts only grow; each is exact once the calls that it counts have ended."""

    name: str
    max_total: int
    size: int
    """Objects that there are, lent and idle, those being made included."""
    in_use: int
    idle: int
    waiters: int
    """Borrowers waiting at this moment, threads and coroutines."""

    made: int
    destroyed: int
    borrows: int
    misses: int
    """Borrows that found nothing idle: they made an object, waited, or failed."""
    recycled: int
    """Borrows served at once with an object that was there."""
    waits: int
    wait_ns: int
    wait_ns_max: int
    exhausted: int
    """Borrows that ended without an object."""
    unfit: int
    """Objects destroyed because they failed validation or a hook."""
    evicted: int
    abandoned: int
    holding_ns: int
    """Time that returned objects had been on loan, added up."""
