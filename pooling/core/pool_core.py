"""The core of an object pool: idle objects, loans, and the wait queue, with a fast path that takes no lock.

The fast path rests on operations that CPython makes atomic: ``deque.pop`` and ``dict.pop`` give an element to exactly
one of several threads, as a compare-and-swap would. An object is either in the idle deque or in the dict of loans;
whichever thread took its record out of one owns it until it has put it into the other. The lock guards what is rare:
growing, shrinking, waiting, closing.

No borrower is left waiting beside an idle object: a borrower that finds nothing joins the wait queue, under the lock,
and then looks for idle objects once more; a returner first adds to the idle deque and then looks at the wait queue.
Whichever comes second sees the other. While borrowers wait, new ones join the end of the queue, and what is returned
goes to its head.

A forked child's pool begins anew: it forgets what its parent has, idle or lent, so no object is ever lent in two
processes; the parent's pool is as it was. Hooks are never called for an object that another process made, even where a
thread-local object's finalizer returns it before the child could begin anew: each record says whose it is.
"""

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeAlias, TypeVar

from penstock.host.clock import SYSTEM_CLOCK, Clock
from pooling.core import checked_proxy, eviction, leak_detection
from pooling.core.errors import PoolClosed, PoolExhausted
from pooling.core.factory import Factory
from pooling.core.lifecycle import Lifecycle
from pooling.core.pool_options import PoolOptions
from pooling.core.pooled_object import PooledObject
from pooling.core.waiters import Waiter
from txqueue.region import fork
from txqueue.region.fork_safe_lock import ForkSafeLock

T = TypeVar("T")


class Permit:
    """A borrower's permission to make an object, given to it where none is idle and the pool may grow."""


PERMIT: Final = Permit()

Outcome: TypeAlias = PooledObject[T] | Permit | PoolClosed
"""What a borrower comes by: an object that it owns, the permission to make one, or the news that there is none."""


class PoolCore(Generic[T]):
    """The state of a pool and the changes to it that need the lock; `pooling.core.object_pool.ObjectPool` lends."""

    def __init__(self, name: str, factory: Factory[T], options: PoolOptions, clock: Clock) -> None:
        self.name: Final = name
        self.options: Final = options
        self._clock: Final = clock
        # Bound once, and without the system clock's own call in between: it is half of the fast path's cost.
        self._now_ns: Final[Callable[[], int]] = time.monotonic_ns if clock is SYSTEM_CLOCK else clock.monotonic_ns
        self._factory: Final = factory
        self._inherited: Final[dict[int, PooledObject[T]]] = {}
        """In a child, its parent's loans, by the id of what was lent: they may be returned, to no effect."""
        self._lock: Final = ForkSafeLock()
        self._max_total = options.max_total
        self._idle_max = options.idle_limit
        self._closed = False
        self._begin()
        fork.disown_in_children(self)

    def _begin(self) -> None:
        """Begin without an object."""
        self._lifecycle = Lifecycle(self.name, self._factory, self.options, self._now_ns)
        self._idle: deque[PooledObject[T]] = deque()
        self._take_idle = self._idle.pop if self.options.order == "lifo" else self._idle.popleft
        self._loans: dict[int, PooledObject[T]] = {}
        """By the id of what was lent, which the record keeps alive."""
        self._waiters: deque[Waiter] = deque()
        """Guarded by the lock, as everything below is; some of it is read without."""
        self._size = 0
        """Objects that exist, those being made and those being destroyed included."""
        self._destroying = 0
        """Objects being destroyed."""
        self._slow_path = self._closed
        """Whether borrows and returns leave the fast path: borrowers wait, or there are more objects than allowed."""
        self._misses = self._waits = self._wait_ns = self._wait_ns_max = self._exhausted = 0
        self._leaked = self._evicted = 0
        self._reclaimed = leak_detection.ReclaimedObjects()
        self._generation = fork.generation()

    def disown(self) -> None:
        """Forget all objects in a forked child, which its parent goes on using."""
        if self._generation == fork.generation():
            return
        lifecycle, loans = self._lifecycle, self._loans
        self._begin()
        for pooled in lifecycle.alive():
            lent = id(pooled.lent) in loans
            if lent:
                self._inherited[id(pooled.lent)] = pooled
            if not (lent and lifecycle.abandons):  # what is lent may still be in use by the thread that forked
                lifecycle.abandon(pooled)

    def _take_inherited(self, item: T) -> bool:
        """Tell whether an object is on loan from the parent process's pool; if so let go of it."""
        pooled = self._inherited.pop(id(item), None)
        if pooled is None:
            return False
        if self.options.checked_proxy:
            checked_proxy.revoke(pooled.lent)
        if self._lifecycle.abandons:
            self._lifecycle.abandon(pooled)
        return True

    def _take_or_enqueue(self, waiter: Waiter, wait_s: float) -> Outcome[T] | None:
        """Give what is available, or put the borrower into the wait queue and give None.

        Raises:
            PoolExhausted: nothing is available, and the borrower does not wait.
        """
        if self._size >= self._max_total:
            self._reclaim_leaked(self._now_ns())
        with self._lock:
            outcome = None if self._waiters else self._take_available()
            self._misses += not isinstance(outcome, PooledObject)
            if outcome is not None:
                return outcome
            if wait_s <= 0:
                self._exhausted += 1
                raise self._exhausted_error(wait_s)
            self._waits += 1
            self._waiters.append(waiter)
            self._slow_path = True
        waiting_since_ns = self._now_ns()
        try:
            self._balance()  # what became idle before the waiter could be seen
        except BaseException:  # an interrupted hook's: nobody will wait for what this waiter would be given
            self._put_back(self._stop_waiting(waiter, waiting_since_ns))
            raise
        return None

    def _stop_waiting(self, waiter: Waiter, waiting_since_ns: int) -> Outcome[T] | None:
        """Leave the wait queue with what was delivered; None where the borrower gives up."""
        with self._lock:
            waited_ns = self._now_ns() - waiting_since_ns
            self._wait_ns += waited_ns
            self._wait_ns_max = max(self._wait_ns_max, waited_ns)
            outcome: Outcome[T] | None = waiter.outcome
            if outcome is None:
                with contextlib.suppress(ValueError):  # it was passed over, as its event loop was closed
                    self._waiters.remove(waiter)
                self._exhausted += 1
            return outcome

    def _take_available(self) -> Outcome[T] | None:
        """Take an idle object, or else a permit, where there is one. Under the lock."""
        if self._closed:
            return PoolClosed(f"pool {self.name} was closed: borrow before that, or from another pool")
        if self._size - self._destroying <= self._max_total:
            with contextlib.suppress(IndexError):
                return self._take_idle()
        if self._size < self._max_total:
            self._size += 1
            return PERMIT
        return None

    def _balance(self) -> None:
        """Serve the waiters, first come, first served, and destroy idle objects beyond what is allowed."""
        with self._lock:
            while self._waiters and (outcome := self._take_available()) is not None:
                if not self._deliver(outcome):
                    self._put_back(outcome)
            allowed = 0 if self._closed else self._max_total
            surplus = self._size - self._destroying - allowed
            # Before the look at the idle objects: whoever returns one after that look balances again.
            self._slow_path = bool(self._waiters) or self._closed or surplus > 0
            # Too many may be idle: they came back for waiters that have gone since, or at the same moment as others.
            excess = eviction.take_oldest(self._idle, max(surplus, len(self._idle) - self._idle_max))
            self._destroying += len(excess)
            self._slow_path = bool(self._waiters) or self._closed or self._size - self._destroying > allowed
        self._destroy(excess)

    def _deliver(self, outcome: Outcome[T]) -> bool:
        """Give to the first waiter; return False where the event loops of all waiters are gone."""
        while self._waiters:
            if self._waiters.popleft().deliver(outcome):
                return True
        return False

    def _put_back(self, outcome: Outcome[T] | None) -> None:
        """Make something available that was given to nobody."""
        if isinstance(outcome, PooledObject):
            self._idle.append(outcome)
        elif isinstance(outcome, Permit):
            with self._lock:
                self._size -= 1
        if self._slow_path:
            self._balance()

    def _exhausted_error(self, wait_s: float) -> PoolExhausted:
        return PoolExhausted(
            f"none of {self._max_total} objects of pool {self.name} came back in {wait_s:g} s: return some earlier, "
            "enlarge the pool, or wait longer"
        )

    def _make(self) -> PooledObject[T]:
        """Make an object; the caller has a permit, which is given back where that fails."""
        try:
            return self._lifecycle.make()
        except BaseException:
            self._put_back(PERMIT)
            raise

    def _destroy_all(self, owned: list[PooledObject[T]]) -> int:
        """Destroy objects that the caller owns, so that others may be made; return how many."""
        with self._lock:
            self._destroying += len(owned)
        self._destroy(owned)
        return len(owned)

    def _destroy(self, counted: list[PooledObject[T]]) -> None:
        """Destroy objects that are counted in ``_destroying``: all of them, even if KeyboardInterrupt ends one hook."""
        with contextlib.ExitStack() as stack:
            for pooled in reversed(counted):
                stack.callback(self._destroy_one, pooled)

    def _destroy_one(self, pooled: PooledObject[T]) -> None:
        try:
            self._lifecycle.destroy(pooled)
        finally:
            with self._lock:
                self._destroying -= 1
                self._size -= 1
            if self._slow_path:
                self._balance()

    def _passes(self, test: Callable[[PooledObject[T]], bool], pooled: PooledObject[T]) -> bool:
        """Test an object that the caller owns; destroy it where KeyboardInterrupt ends the test."""
        try:
            return test(pooled)
        except BaseException:
            self._destroy_all([pooled])
            raise

    def _reclaim_leaked(self, now_ns: int) -> None:
        """Take leaked objects from their borrowers, report and destroy them."""
        if math.isinf(self.options.leak_after_s):
            return
        with self._lock:
            leaked = leak_detection.take_leaked(self._loans, now_ns - int(self.options.leak_after_s * 1e9))
            self._leaked += len(leaked)
            for pooled in leaked:  # still under the lock, where a late return looks for it
                self._reclaimed.add(pooled)
        for pooled in leaked:
            leak_detection.report(self.name, pooled, now_ns)
            if self.options.checked_proxy:
                checked_proxy.revoke(pooled.lent, leaked=True)
        self._destroy_all(leaked)
