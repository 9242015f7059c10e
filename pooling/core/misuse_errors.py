"""Says what is wrong with a return, and who did it."""

import time
from typing import Any

from pooling.core.call_site import CallSite
from pooling.core.errors import NotBorrowed
from pooling.core.pooled_object import PooledObject


def not_borrowed(pool_name: str, item: object, entry: PooledObject[Any] | None) -> NotBorrowed:
    """Explain the return of an object that is not on loan; ``entry`` is its record where the pool has one."""
    kind = type(item if entry is None else entry.item).__name__
    if entry is None:
        return NotBorrowed(
            f"this {kind} is not on loan from pool {pool_name}: it belongs elsewhere, or the pool has destroyed it"
        )
    ago_s = (time.monotonic_ns() - entry.returned_ns) / 1e9
    returner = entry.returned_by or f"a caller that was not traced (see PoolOptions.trace), {ago_s:.3f} s ago"
    return NotBorrowed(f"this {kind} of pool {pool_name} was returned before, by {returner}")


def taken_away(pool_name: str, borrower: CallSite | None) -> NotBorrowed:
    """Explain the return of an object that had been taken for abandoned."""
    return NotBorrowed(
        f"this object of pool {pool_name} was taken for abandoned before it came back: return it earlier, or raise "
        f"abandoned_s; borrowed by {borrower or 'a caller that was not traced (see PoolOptions.trace)'}"
    )
