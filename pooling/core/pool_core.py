"""What a pool has: idle objects, objects on loan, places for more, and the line of those who wait for one.

The way that most borrows and returns take holds no lock. It rests on operations that CPython makes atomic:
``deque.pop`` and ``dict.pop`` give one thing to exactly one of several threads, as a compare-and-swap would. The idle
deque and the dict of loans are the two places where an object can be; whoever took its entry out of one owns it until
it has put it into the other. The lock guards what is rare: growing, shrinking, waiting, closing.

A borrower that finds nothing gets in line, under the lock, and then looks once more; a returner first adds to the idle
deque and then looks whether there is a line. Whichever comes second sees the other, so nobody is left waiting beside an
idle object. While there is a line, new borrowers join its end and what comes back goes to its head.
"""

import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from pooling.core import checked_proxy as guard
from pooling.core import eviction
from pooling.core import leak_detection as abandoned
from pooling.core.errors import PoolClosed, PoolExhausted
from pooling.core.factory import Factory
from pooling.core.lifecycle import Lifecycle
from pooling.core.pool_options import PoolOptions
from pooling.core.pooled_object import PooledObject
from pooling.core.waiters import Waiter

T = TypeVar("T")


class Place:
    """Given to a borrower instead of an object: it may make one."""


PLACE: Final = Place()


class PoolCore(Generic[T]):
    """The inner half of `pooling.core.object_pool.ObjectPool`, which lends from it."""

    def __init__(self, name: str, factory: Factory[T], options: PoolOptions) -> None:
        self.name: Final = name
        self.options: Final = options
        self._life: Final = Lifecycle(name, factory, options)
        self._idle: Final[deque[PooledObject[T]]] = deque()
        self._take: Final = self._idle.pop if options.order == "lifo" else self._idle.popleft
        self._loans: Final[dict[int, PooledObject[T]]] = {}
        """By the id of what was lent, which the entry keeps alive."""
        # Reentrant: the collector may run finalizers, and those return objects, wherever something is allocated.
        self._lock: Final = threading.RLock()
        self._waiters: Final[deque[Waiter]] = deque()
        """Guarded by the lock, as everything below is; some of it is read without."""
        self._size = 0
        """Objects that there are, those being made and those about to be destroyed included."""
        self._doomed = 0
        """The latter."""
        self._max_total = options.max_total
        self._idle_max = options.idle_kept
        self._closed = False
        self._pressed = False
        """There is a line, or there are more objects than there should be: a returned one does not just become idle."""
        self._misses = self._waits = self._wait_ns = self._wait_ns_max = self._exhausted = 0
        self._abandoned = 0
        self._taken_away: Final = abandoned.TakenAway()

    def _enter(self, waiter: Waiter, wait_s: float) -> PooledObject[T] | Place | PoolClosed | None:
        """Give what is there, or put the borrower in line and give None."""
        if self._size >= self._max_total:
            self._reclaim_abandoned(time.monotonic_ns())
        with self._lock:
            outcome = None if self._waiters else self._available()
            self._misses += not isinstance(outcome, PooledObject)
            if outcome is not None:
                return outcome
            if wait_s <= 0:
                self._exhausted += 1
                raise self._none_came(wait_s)
            self._waits += 1
            self._waiters.append(waiter)
            self._pressed = True
        entered_ns = time.monotonic_ns()
        try:
            self._balance()  # what became idle before the line was there to be seen
        except BaseException:  # an interrupted hook's: nobody will wait for what this waiter would be given
            self._put_back(self._leave(waiter, entered_ns))
            raise
        return None

    def _leave(self, waiter: Waiter, entered_ns: int) -> PooledObject[T] | Place | PoolClosed | None:
        """Get out of line with what was given; None where the borrower gives up."""
        with self._lock:
            waited_ns = time.monotonic_ns() - entered_ns
            self._wait_ns += waited_ns
            self._wait_ns_max = max(self._wait_ns_max, waited_ns)
            outcome: PooledObject[T] | Place | PoolClosed | None = waiter.outcome
            if outcome is None:
                with contextlib.suppress(ValueError):  # passed over, as its event loop was closed
                    self._waiters.remove(waiter)
                self._exhausted += 1
            return outcome

    def _available(self) -> PooledObject[T] | Place | PoolClosed | None:
        """Take an idle object or else a free place, where there is one. Under the lock."""
        if self._closed:
            return PoolClosed(f"pool {self.name} was closed: borrow before that, or from another pool")
        if self._size - self._doomed <= self._max_total:
            with contextlib.suppress(IndexError):
                return self._take()
        if self._size < self._max_total:
            self._size += 1
            return PLACE
        return None

    def _balance(self) -> None:
        """Serve those in line, first come, first served, and let go of idle objects that are too many."""
        with self._lock:
            while self._waiters and (outcome := self._available()) is not None:
                if not self._deliver(outcome):
                    self._put_back(outcome)
            allowed = 0 if self._closed else self._max_total
            surplus = self._size - self._doomed - allowed
            # Before the idle ones are looked at: whoever returns one too late for that look brings it here again.
            self._pressed = bool(self._waiters) or self._closed or surplus > 0
            # What came back for a line that has gone since, or in the same moment as others, may be too much to keep.
            entries = eviction.take_oldest(self._idle, max(surplus, len(self._idle) - self._idle_max))
            self._doomed += len(entries)
            self._pressed = bool(self._waiters) or self._closed or self._size - self._doomed > allowed
        self._destroy(entries)

    def _deliver(self, outcome: PooledObject[T] | Place | PoolClosed) -> bool:
        """Give to the first in line; returns False where all event loops of those in line are gone."""
        while self._waiters:
            if self._waiters.popleft().deliver(outcome):
                return True
        return False

    def _put_back(self, outcome: PooledObject[T] | Place | PoolClosed | None) -> None:
        """Make something available that was given to nobody."""
        if isinstance(outcome, PooledObject):
            self._idle.append(outcome)
        elif isinstance(outcome, Place):
            with self._lock:
                self._size -= 1
        if self._pressed:
            self._balance()

    def _none_came(self, wait_s: float) -> PoolExhausted:
        return PoolExhausted(
            f"none of {self._max_total} objects of pool {self.name} came back in {wait_s:g} s: return some earlier, "
            "enlarge the pool, or wait longer"
        )

    def _make(self) -> PooledObject[T]:
        """Make an object for a place that the caller has taken."""
        try:
            return self._life.make()
        except BaseException:
            self._put_back(PLACE)
            raise

    def _retire_all(self, entries: list[PooledObject[T]]) -> int:
        """Destroy objects that the caller owns, and give their places away; returns how many."""
        with self._lock:
            self._doomed += len(entries)
        self._destroy(entries)
        return len(entries)

    def _destroy(self, entries: list[PooledObject[T]]) -> None:
        with contextlib.ExitStack() as each:  # all of them, also where KeyboardInterrupt cuts one hook short
            for entry in reversed(entries):
                each.callback(self._destroy_one, entry)

    def _destroy_one(self, entry: PooledObject[T]) -> None:
        try:
            self._life.destroy(entry)
        finally:
            with self._lock:
                self._doomed -= 1
                self._size -= 1
            if self._pressed:
                self._balance()

    def _passes(self, test: Callable[[PooledObject[T]], bool], entry: PooledObject[T]) -> bool:
        """Test an object that the caller owns; one whose test KeyboardInterrupt cuts short is destroyed."""
        try:
            return test(entry)
        except BaseException:
            self._retire_all([entry])
            raise

    def _reclaim_abandoned(self, now_ns: int) -> None:
        if math.isinf(self.options.abandoned_s):
            return
        with self._lock:
            entries = abandoned.take_abandoned(self._loans, now_ns - int(self.options.abandoned_s * 1e9))
            self._abandoned += len(entries)
            for entry in entries:  # still under the lock, where a late return looks for it
                self._taken_away.add(entry)
        for entry in entries:
            abandoned.report(self.name, entry, (now_ns - entry.borrowed_ns) / 1e9)
            if self.options.guard:
                guard.revoke(entry.lent)
        self._retire_all(entries)
