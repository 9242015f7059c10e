"""Options of one pool: how many objects, how long to wait, when to test, evict and reclaim them."""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOptions:
    """One pool's options. Times are in seconds, and ``math.inf`` means never.

    Raises:
        ValueError: an option is out of its range, or two contradict each other.
    """

    max_total: int = 8
    """Objects at most, lent and idle together."""
    idle_max: int | None = None
    """Idle objects at most; what is returned beyond that is destroyed. None: as many as ``max_total`` allows."""
    idle_min: int = 0
    """Idle objects that maintenance makes ahead of demand and that eviction leaves."""
    order: Literal["lifo", "fifo"] = "lifo"
    """Which idle object is lent next: the last returned, likeliest to be in cache, or the first, so that all get used.
    Waiting borrowers are served first come, first served in either case."""
    wait_s: float = math.inf
    """How long a borrower waits when everything is lent, unless the call gives a timeout; 0: it fails at once."""

    test_on_create: bool = False
    test_on_borrow: bool = False
    test_on_return: bool = False
    test_while_idle: bool = False
    """When the factory's ``validate`` is called; ``test_while_idle``: during maintenance."""
    tests_per_run: int = 3
    """Idle objects validated by one maintenance run, those tested longest ago first."""

    evict_idle_s: float = math.inf
    """Maintenance destroys objects that were idle for longer, down to ``idle_min``."""
    leak_after_s: float = math.inf
    """An object on loan for longer counts as leaked: it is reported with its borrower and destroyed, and another may be
    made in its stead. Maintenance looks for leaks, and so does a borrower that would have to wait."""

    trace: bool = False
    """Record the call stack of every borrow and return, about 2 us each, for messages about leaks and misuse."""
    checked_proxy: bool = False
    """Lend a proxy that raises :class:`~pooling.core.errors.UsedAfterReturn` once the object was returned. It forwards
    attributes and operators, but is not an instance of the object's class."""

    def __post_init__(self) -> None:
        if self.max_total < 1:
            raise ValueError(f"a pool of {self.max_total} objects can lend none: max_total is at least 1")
        if self.idle_min < 0 or self.idle_min > min(self.max_total, self.idle_limit):
            raise ValueError(f"idle_min {self.idle_min} is more than idle_max or max_total allow, or below 0")
        if self.idle_limit < 0 or self.tests_per_run < 1:
            raise ValueError("idle_max is at least 0 and tests_per_run at least 1")
        if self.order not in ("lifo", "fifo"):
            raise ValueError(f"order {self.order!r}: it is either lifo or fifo")
        if not (self.wait_s >= 0 and self.evict_idle_s > 0 and self.leak_after_s > 0):  # so written, it refuses NaN too
            raise ValueError("wait_s is at least 0; evict_idle_s and leak_after_s are more than 0 seconds")

    @property
    def idle_limit(self) -> int:
        """Idle objects at most, as a number."""
        return self.max_total if self.idle_max is None else self.idle_max
