"""Metrics of one pool: what it has done, and how it stands."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PoolMetrics:
    """A pool at one moment. Counts only grow; each is exact once the calls that it counts have ended."""

    name: str
    max_total: int
    size: int
    """Objects that exist, lent and idle, those being made included."""
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
    """Borrows served at once with an idle object."""
    waits: int
    wait_ns: int
    wait_ns_max: int
    exhausted: int
    """Borrows that ended without an object."""
    invalid: int
    """Objects destroyed because validation or a hook failed."""
    evicted: int
    """Objects destroyed because they had been idle for too long."""
    leaked: int
    """Objects reclaimed from borrowers that had not returned them in time."""
    holding_ns: int
    """Time on loan of all loans that have ended, added up."""
