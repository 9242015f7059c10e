"""An object pool: lends interchangeable objects to threads and coroutines, one borrower at a time.

It offers what Apache Commons Pool's GenericObjectPool does; a fast path without a lock is HikariCP's idea.
`pooling.core.pool_core` tells how that works here.
"""

import contextlib
import math
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final, TypeVar

from penstock.host.clock import SYSTEM_CLOCK, Clock
from pooling.core import checked_proxy, eviction, misuse_errors
from pooling.core.call_site import CallSite
from pooling.core.errors import ObjectInvalid
from pooling.core.factory import Factory
from pooling.core.pool_core import PERMIT, Outcome, Permit, PoolCore
from pooling.core.pool_metrics import PoolMetrics
from pooling.core.pool_options import PoolOptions
from pooling.core.pooled_object import PooledObject
from pooling.core.waiters import TaskWaiter, ThreadWaiter

T = TypeVar("T")


class ObjectPool(PoolCore[T]):
    """Lends the objects of one factory. Any thread may use it, and coroutines borrow by `borrow_async`.

    Objects are told apart by identity: return the very object that was lent.
    """

    def __init__(
        self,
        name: str,
        factory: Factory[T],
        options: PoolOptions = PoolOptions(),  # noqa: B008 - it cannot change
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Make an empty pool; its objects are made when first needed.

        ``name`` stands in metrics and messages. ``clock`` times loans, idle objects and waiting threads; coroutines
        wait by the time of their event loop.
        """
        super().__init__(name, factory, options, clock)
        recorded = options.trace or options.checked_proxy
        self._plain_borrow: Final = not (recorded or self._lifecycle.checks_borrows)
        self._plain_return: Final = not (recorded or self._lifecycle.checks_returns)

    # Borrowing and returning.

    def borrow_object(self, timeout_s: float | None = None) -> T:
        """Lend an object, for which the caller waits ``timeout_s`` at most (None: as long as ``options.wait_s`` says).

        Raises:
            PoolExhausted: none came back in time.
            PoolClosed: the pool was closed.
            ObjectInvalid: a new object failed its validation.
            Exception: what the factory's ``make`` raises.
        """
        if self._slow_path:
            return self._borrow_slowly(timeout_s)
        # Called through locals: CPython speeds up loading an attribute, but not calling a function that one holds.
        take_idle, now_ns = self._take_idle, self._now_ns
        try:
            pooled = take_idle()
        except IndexError:
            return self._borrow_slowly(timeout_s)
        if not self._plain_borrow:
            return self._lend(pooled)
        pooled.reuses += 1
        pooled.borrowed_ns = now_ns()
        item = pooled.item
        self._loans[id(item)] = pooled
        return item

    def return_object(self, item: T) -> None:
        """Take an object back; the caller may not use it from now on.

        In a forked child, an object that its parent borrowed is taken to no effect: it stays lent to the parent.

        Raises:
            NotBorrowed: it is not on loan from this pool; the message says why, and who returned it before.
        """
        pooled = self._loans.pop(id(item), None) or self._find_loan(item)
        if pooled is None:
            return
        monotonic_ns = self._now_ns  # a local, as in `borrow_object`
        pooled.returned_ns = now_ns = monotonic_ns()
        pooled.holding_ns += now_ns - pooled.borrowed_ns
        if self._plain_return and len(self._idle) < self._idle_max:
            self._idle.append(pooled)
            if self._slow_path:
                self._balance()
        else:
            self._take_back(pooled)

    async def borrow_async(self, timeout_s: float | None = None) -> T:
        """Do as `borrow_object`, suspending the coroutine instead of blocking the thread. Cancelling leaks nothing.

        Raises:
            PoolExhausted: none came back in time.
            PoolClosed: the pool was closed.
            ObjectInvalid: a new object failed its validation.
            Exception: what the factory's ``make`` raises.
        """
        wait_s = self.options.wait_s if timeout_s is None else timeout_s
        waiter = TaskWaiter()
        outcome = self._take_or_enqueue(waiter, wait_s)
        if waited := outcome is None:
            waiting_since_ns = self._now_ns()
            try:
                await waiter.wait(wait_s)
            except BaseException:
                self._put_back(self._stop_waiting(waiter, waiting_since_ns))
                raise
            outcome = self._stop_waiting(waiter, waiting_since_ns)
        return self._lend_outcome(outcome, wait_s, waited=waited)

    @contextlib.contextmanager
    def lend(self, timeout_s: float | None = None) -> Iterator[T]:
        """Lend an object for the length of a ``with`` block."""
        item = self.borrow_object(timeout_s)
        try:
            yield item
        finally:
            self.return_object(item)

    @contextlib.asynccontextmanager
    async def lend_async(self, timeout_s: float | None = None) -> AsyncIterator[T]:
        """Lend an object for the length of an ``async with`` block."""
        item = await self.borrow_async(timeout_s)
        try:
            yield item
        finally:
            self.return_object(item)

    # The number of objects.

    @property
    def in_use(self) -> int:
        """Objects on loan."""
        return len(self._loans)

    @property
    def idle(self) -> int:
        """Objects that can be borrowed at once."""
        return len(self._idle)

    @property
    def max_total(self) -> int:
        """Objects at most, as `resize` last set it."""
        return self._max_total

    def peak_since(self, since_ns: int) -> int | None:
        """Tell how many objects at most were on loan at once since a moment of the pool's monotonic clock.

        None where the order is ``fifo``. A pool that lends the last returned object first takes one that had lain idle
        only when all above it are on loan, so the number of different objects used is the peak.
        """
        return self._lifecycle.count_used_since(since_ns, self._loans) if self.options.order == "lifo" else None

    def prepare(self, idle: int) -> int:
        """Make idle objects until there are ``idle`` or the pool is full; return how many were made.

        Raises:
            ObjectInvalid: a new object failed its validation.
            Exception: what the factory's ``make`` raises.
        """
        made = 0
        while True:
            with self._lock:
                if self._closed or self._size >= self._max_total or len(self._idle) >= min(idle, self._idle_max):
                    return made
                self._size += 1
            self._put_back(self._make())
            made += 1

    def resize(self, max_total: int) -> None:
        """Change how many objects there are at most. Idle ones beyond that go now, lent ones when they come back.

        Raises:
            ValueError: ``max_total`` is less than 1.
        """
        if max_total < 1:
            raise ValueError(f"a pool of {max_total} objects can lend none: max_total is at least 1")
        with self._lock:
            self._max_total = max_total
            self._idle_max = max_total if self.options.idle_max is None else self.options.idle_max
        self._balance()

    def adjust_size(self, target: int) -> int:
        """Make or destroy idle objects to come as close to ``target`` objects in all as can be; return the change.

        It sets no bound: with demand the pool still grows to its maximum.

        Raises:
            ObjectInvalid: a new object failed its validation.
            Exception: what the factory's ``make`` raises.
        """
        with self._lock:
            change = min(target, self._max_total) - (self._size - self._destroying)
        if change >= 0:
            return self.prepare(len(self._idle) + change)
        return -self._destroy_all(eviction.take_oldest(self._idle, -change))

    def clear(self) -> int:
        """Destroy all idle objects; return how many. Lent ones are not touched."""
        return self._destroy_all(eviction.take_oldest(self._idle, len(self._idle)))

    def close(self) -> None:
        """Lend nothing any more: waiting borrowers get `PoolClosed`, idle objects go now, lent ones on their return."""
        with self._lock:
            self._closed = True
        self._balance()

    def maintain(self) -> None:
        """Reclaim leaked objects, evict and test idle ones, and make ``idle_min`` ready. Call it about every second.

        Raises:
            ObjectInvalid: a new object failed its validation.
            Exception: what the factory's ``make`` raises.
        """
        options = self.options
        now_ns = self._now_ns()
        self._reclaim_leaked(now_ns)
        self._balance()
        if math.isfinite(options.evict_idle_s):
            overdue = eviction.take_overdue(self._idle, now_ns - int(options.evict_idle_s * 1e9), options.idle_min)
            self._evicted += self._destroy_all(overdue)
        if options.test_while_idle:
            for pooled in eviction.take_for_test(self._idle, options.tests_per_run):
                pooled.tested_ns = now_ns
                if self._passes(self._lifecycle.passes_while_idle, pooled):
                    eviction.put_in_order(self._idle, pooled)
                    self._balance()
                else:
                    self._destroy_all([pooled])
        self.prepare(options.idle_min)

    def get_metrics(self) -> PoolMetrics:
        """Tell what the pool has done and how it stands."""
        borrows, recycled, holding_ns = self._lifecycle.totals()
        return PoolMetrics(
            name=self.name,
            max_total=self._max_total,
            size=self._size,
            in_use=len(self._loans),
            idle=len(self._idle),
            waiters=len(self._waiters),
            made=self._lifecycle.made,
            destroyed=self._lifecycle.destroyed,
            borrows=borrows,
            misses=self._misses,
            recycled=recycled,
            waits=self._waits,
            wait_ns=self._wait_ns,
            wait_ns_max=self._wait_ns_max,
            exhausted=self._exhausted,
            invalid=self._lifecycle.invalid,
            evicted=self._evicted,
            leaked=self._leaked,
            holding_ns=holding_ns,
        )

    # The slow path.

    def _borrow_slowly(self, timeout_s: float | None) -> T:
        wait_s = self.options.wait_s if timeout_s is None else timeout_s
        waiter = ThreadWaiter(self._clock)
        outcome = self._take_or_enqueue(waiter, wait_s)
        if waited := outcome is None:
            waiting_since_ns = self._now_ns()
            try:
                waiter.wait(wait_s)
            except BaseException:  # what a signal handler raises, KeyboardInterrupt among them
                self._put_back(self._stop_waiting(waiter, waiting_since_ns))
                raise
            outcome = self._stop_waiting(waiter, waiting_since_ns)
        return self._lend_outcome(outcome, wait_s, waited=waited)

    def _lend_outcome(self, outcome: Outcome[T] | None, wait_s: float, *, waited: bool) -> T:
        if isinstance(outcome, PooledObject):
            return self._lend(outcome, missed=waited)
        if isinstance(outcome, Permit):
            return self._lend(self._make(), fresh=True, missed=True)
        raise outcome or self._exhausted_error(wait_s)

    # One object.

    def _lend(self, pooled: PooledObject[T], *, fresh: bool = False, missed: bool = False) -> T:
        """Ready an object and put it on loan; an invalid one is replaced by a new one."""
        if self._lifecycle.checks_borrows:
            while not self._passes(self._lifecycle.passes_on_borrow, pooled):
                try:
                    self._lifecycle.destroy(pooled)
                except BaseException:
                    self._put_back(PERMIT)
                    raise
                if fresh:
                    self._put_back(PERMIT)
                    raise ObjectInvalid(f"an object that pool {self.name} had just made may not be lent")
                pooled, fresh, missed = self._make(), True, True
        if self.options.trace:
            pooled.borrowed_by = CallSite.here(self._now_ns())
        item: Any = pooled.item
        if self.options.checked_proxy:
            pooled.lent = item = checked_proxy.wrap(pooled, self._now_ns)
        if missed:
            pooled.misses += 1
        else:
            pooled.reuses += 1
        pooled.borrowed_ns = self._now_ns()
        self._loans[id(item)] = pooled
        lent: T = item
        return lent

    def _take_back(self, pooled: PooledObject[T]) -> None:
        """Clean up an object that came back, and keep or destroy it."""
        if self.options.trace:
            pooled.returned_by = CallSite.here(self._now_ns())
        if self.options.checked_proxy:
            checked_proxy.revoke(pooled.lent)
        valid = not self._lifecycle.checks_returns or self._passes(self._lifecycle.passes_on_return, pooled)
        if valid and (len(self._idle) < self._idle_max or self._slow_path):
            self._put_back(pooled)
        else:
            self._destroy_all([pooled])

    def _find_loan(self, item: T) -> PooledObject[T] | None:
        """Look again under the lock: `_reclaim_leaked` may have had the loan in its hands for a moment.

        None for an object that is on loan to the parent process.

        Raises:
            NotBorrowed: there is no such loan.
        """
        with self._lock:
            pooled = self._loans.pop(id(item), None)
        if pooled is not None:
            return pooled
        if self._take_inherited(item):
            return None
        now_ns = self._now_ns()
        was_reclaimed, borrower = self._reclaimed.find(item)
        if was_reclaimed:
            raise misuse_errors.reclaimed(self.name, borrower, now_ns)
        known = self._lifecycle.find(
            checked_proxy.pooled_of(item).item if isinstance(item, checked_proxy.CheckedProxy) else item
        )
        raise misuse_errors.not_borrowed(self.name, item, known, now_ns)
