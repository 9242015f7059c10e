"""How a pool behaves."""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOptions:
    """One pool's choices; those about time are in seconds, and ``math.inf`` means never."""

    max_total: int = 8
    """Objects at most, lent and idle together."""
    idle_max: int | None = None
    """Idle objects kept at most; what comes back beyond that is destroyed. None: as many as there are."""
    idle_min: int = 0
    """Idle objects that maintenance makes ready ahead of demand and eviction leaves."""
    order: Literal["lifo", "fifo"] = "lifo"
    """Which idle object is lent next: the last returned, likeliest to be in cache, or the first, so that all get used.
    Waiting borrowers are served in the order in which they came in either case."""
    wait_s: float = math.inf
    """How long a borrower waits when everything is lent, unless it says so itself; 0: it fails at once."""

    test_on_create: bool = False
    test_on_borrow: bool = False
    test_on_return: bool = False
    test_while_idle: bool = False
    """When the factory's ``validate`` is asked; ``test_while_idle`` by maintenance."""
    tests_per_run: int = 3
    """Idle objects validated by one maintenance run, those tested longest ago first."""

    evict_idle_s: float = math.inf
    """Maintenance destroys objects that were idle for longer, down to ``idle_min``."""
    abandoned_s: float = math.inf
    """An object lent for longer is taken for abandoned: reported with its borrower, destroyed, and its place freed.
    Looked for by maintenance, and when a borrower would have to wait."""

    trace: bool = False
    """Remember the call stack of every borrow and return, about 2 us each, for reports of abandonment and misuse."""
    guard: bool = False
    """Lend a stand-in that raises :class:`~pooling.core.errors.UsedAfterReturn` once the object was returned. It
    passes on attributes and operators, but is not an instance of the object's class."""

    def __post_init__(self) -> None:
        if self.max_total < 1:
            raise ValueError(f"a pool of {self.max_total} objects can lend none: max_total is at least 1")
        if self.idle_min < 0 or self.idle_min > min(self.max_total, self.idle_kept):
            raise ValueError(f"idle_min {self.idle_min} is more than idle_max or max_total allow, or below 0")
        if self.idle_kept < 0 or self.tests_per_run < 1:
            raise ValueError("idle_max is at least 0 and tests_per_run at least 1")
        if self.order not in ("lifo", "fifo"):
            raise ValueError(f"order {self.order!r}: it is either lifo or fifo")
        if not (self.wait_s >= 0 and self.evict_idle_s > 0 and self.abandoned_s > 0):  # so that NaN is refused, too
            raise ValueError("wait_s is at least 0; evict_idle_s and abandoned_s are more than 0 seconds")

    @property
    def idle_kept(self) -> int:
        """Idle objects kept at most, as a number."""
        return self.max_total if self.idle_max is None else self.idle_max
