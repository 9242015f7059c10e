"""Misuse errors: what is wrong with a return, and where the object was borrowed or returned before."""

from typing import Any

from pooling.core.call_site import CallSite, describe
from pooling.core.errors import NotBorrowed
from pooling.core.pooled_object import PooledObject


def not_borrowed(pool_name: str, item: object, pooled: PooledObject[Any] | None, now_ns: int) -> NotBorrowed:
    """Explain the return of an object that is not on loan; ``pooled`` is its record where the pool has one."""
    kind = type(item if pooled is None else pooled.item).__name__
    if pooled is None:
        return NotBorrowed(
            f"this {kind} is not on loan from pool {pool_name}: it belongs elsewhere, or the pool has destroyed it"
        )
    returner = describe(pooled.returned_by, now_ns)
    if pooled.returned_by is None:
        returner += f", {(now_ns - pooled.returned_ns) / 1e9:.3f} s ago"
    return NotBorrowed(f"this {kind} of pool {pool_name} was returned before, by {returner}")


def reclaimed(pool_name: str, borrower: CallSite | None, now_ns: int) -> NotBorrowed:
    """Explain the return of an object that had been reclaimed as leaked."""
    return NotBorrowed(
        f"this object of pool {pool_name} was reclaimed as leaked before it came back: return it earlier, or raise "
        f"leak_after_s; borrowed by {describe(borrower, now_ns)}"
    )
