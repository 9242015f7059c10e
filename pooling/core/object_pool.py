"""A pool of interchangeable objects, for threads and coroutines.

What is offered follows Apache Commons Pool (GenericObjectPool); that the common path takes no lock, HikariCP. How that
works is told in `pooling.core.pool_core`.
"""

import contextlib
import math
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final, TypeVar

from pooling.core import checked_proxy as guard
from pooling.core import eviction
from pooling.core import misuse_errors as misuse
from pooling.core.call_site import CallSite
from pooling.core.errors import ObjectUnfit, PoolClosed
from pooling.core.factory import Factory
from pooling.core.pool_core import PLACE, Place, PoolCore
from pooling.core.pool_metrics import PoolMetrics
from pooling.core.pool_options import PoolOptions
from pooling.core.pooled_object import PooledObject
from pooling.core.waiters import TaskWaiter, ThreadWaiter

T = TypeVar("T")

_monotonic_ns = time.monotonic_ns


class ObjectPool(PoolCore[T]):
    """Lends the objects of one factory; safe from any thread, and from coroutines by `borrow_async`.

    Objects are told apart by identity: return the very object that was lent.
    """

    def __init__(self, name: str, factory: Factory[T], options: PoolOptions = PoolOptions()) -> None:  # noqa: B008
        """Make an empty pool; ``name`` stands in metrics and messages. Objects are made when first needed."""
        super().__init__(name, factory, options)
        marks = options.trace or options.guard
        self._plain_loan: Final = not (marks or self._life.checks_loans)
        self._plain_return: Final = not (marks or self._life.checks_returns)
        self._evicted = 0

    # Borrowing and returning.

    def borrow_object(self, timeout_s: float | None = None) -> T:
        """Lend an object, for which the caller waits ``timeout_s`` at most (None: as long as ``options.wait_s`` says).

        Raises:
            PoolExhausted: none came back in time.
            PoolClosed: the pool was closed.
            ObjectUnfit: a new object failed its validation. What the factory's ``make`` raises comes through as well.
        """
        if self._pressed:
            return self._borrow_in_line(timeout_s)
        try:
            entry = self._take()
        except IndexError:
            return self._borrow_in_line(timeout_s)
        if not self._plain_loan:
            return self._lend(entry)
        entry.reuses += 1
        entry.borrowed_ns = _monotonic_ns()
        item = entry.item
        self._loans[id(item)] = entry
        return item

    def return_object(self, item: T) -> None:
        """Take an object back; the caller may not touch it from now on.

        Raises:
            NotBorrowed: it is not on loan from this pool; the message says why, and who returned it before.
        """
        entry = self._loans.pop(id(item), None) or self._find_loan(item)
        entry.returned_ns = now_ns = _monotonic_ns()
        entry.holding_ns += now_ns - entry.borrowed_ns
        if self._plain_return and len(self._idle) < self._idle_max:
            self._idle.append(entry)
            if self._pressed:
                self._balance()
        else:
            self._take_back(entry)

    async def borrow_async(self, timeout_s: float | None = None) -> T:
        """Do as `borrow_object`, suspending the coroutine instead of blocking the thread. Cancelling leaks nothing."""
        wait_s = self.options.wait_s if timeout_s is None else timeout_s
        waiter = TaskWaiter()
        outcome = self._enter(waiter, wait_s)
        if waited := outcome is None:
            entered_ns = _monotonic_ns()
            try:
                await waiter.wait(wait_s)
            except BaseException:
                self._put_back(self._leave(waiter, entered_ns))
                raise
            outcome = self._leave(waiter, entered_ns)
        return self._redeem(outcome, wait_s, waited=waited)

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

    # How many there are.

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

    def used_since(self, since_ns: int) -> int | None:
        """The most objects on loan at once since a moment of the monotonic clock; None where the order is ``fifo``.

        A pool that lends the last returned object first takes one that had lain idle only when all above it are on
        loan: the number of different objects used is the peak.
        """
        return self._life.used_since(since_ns) if self.options.order == "lifo" else None

    def prepare(self, idle: int) -> int:
        """Make idle objects until there are ``idle`` or the pool is full; returns how many were made."""
        made = 0
        while True:
            with self._lock:
                if self._closed or self._size >= self._max_total or len(self._idle) >= min(idle, self._idle_max):
                    return made
                self._size += 1
            self._put_back(self._make())
            made += 1

    def resize(self, max_total: int) -> None:
        """Change how many objects there are at most. Idle ones beyond that go now, lent ones when they come back."""
        if max_total < 1:
            raise ValueError(f"a pool of {max_total} objects can lend none: max_total is at least 1")
        with self._lock:
            self._max_total = max_total
            self._idle_max = max_total if self.options.idle_max is None else self.options.idle_max
        self._balance()

    def settle(self, total: int) -> int:
        """Come as close to ``total`` objects as can be by making and destroying idle ones; returns the change.

        A hint for the time being and no bound: with demand the pool still grows to its maximum.
        """
        with self._lock:
            change = min(total, self._max_total) - (self._size - self._doomed)
        if change >= 0:
            return self.prepare(len(self._idle) + change)
        return -self._retire_all(eviction.take_oldest(self._idle, -change))

    def clear(self) -> int:
        """Destroy all idle objects; returns how many. Lent ones are not touched."""
        return self._retire_all(eviction.take_oldest(self._idle, len(self._idle)))

    def close(self) -> None:
        """Lend nothing any more: waiting borrowers get `PoolClosed`, idle objects go now, lent ones on their return."""
        with self._lock:
            self._closed = True
        self._balance()

    def maintain(self) -> None:
        """Find abandoned objects, evict and test idle ones, make ready ``idle_min``. Call it now and then."""
        options = self.options
        now_ns = _monotonic_ns()
        self._reclaim_abandoned(now_ns)
        self._balance()
        if math.isfinite(options.evict_idle_s):
            overdue = eviction.take_overdue(self._idle, now_ns - int(options.evict_idle_s * 1e9), options.idle_min)
            self._evicted += self._retire_all(overdue)
        if options.test_while_idle:
            for entry in eviction.take_for_test(self._idle, options.tests_per_run):
                entry.tested_ns = now_ns
                if self._passes(self._life.is_fit_while_idle, entry):
                    eviction.put_in_order(self._idle, entry)
                    self._balance()
                else:
                    self._retire_all([entry])
        self.prepare(options.idle_min)

    def get_metrics(self) -> PoolMetrics:
        """Tell what the pool has done and how it stands."""
        borrows, recycled, holding_ns = self._life.totals()
        return PoolMetrics(
            name=self.name,
            max_total=self._max_total,
            size=self._size,
            in_use=len(self._loans),
            idle=len(self._idle),
            waiters=len(self._waiters),
            made=self._life.made,
            destroyed=self._life.destroyed,
            borrows=borrows,
            misses=self._misses,
            recycled=recycled,
            waits=self._waits,
            wait_ns=self._wait_ns,
            wait_ns_max=self._wait_ns_max,
            exhausted=self._exhausted,
            unfit=self._life.unfit,
            evicted=self._evicted,
            abandoned=self._abandoned,
            holding_ns=holding_ns,
        )

    # The long ways.

    def _borrow_in_line(self, timeout_s: float | None) -> T:
        wait_s = self.options.wait_s if timeout_s is None else timeout_s
        waiter = ThreadWaiter()
        outcome = self._enter(waiter, wait_s)
        if waited := outcome is None:
            entered_ns = _monotonic_ns()
            try:
                waiter.wait(wait_s)
            except BaseException:  # what a signal handler raises, KeyboardInterrupt among them
                self._put_back(self._leave(waiter, entered_ns))
                raise
            outcome = self._leave(waiter, entered_ns)
        return self._redeem(outcome, wait_s, waited=waited)

    def _redeem(self, outcome: PooledObject[T] | Place | PoolClosed | None, wait_s: float, *, waited: bool) -> T:
        if isinstance(outcome, PooledObject):
            return self._lend(outcome, missed=waited)
        if isinstance(outcome, Place):
            return self._lend(self._make(), fresh=True, missed=True)
        raise outcome or self._none_came(wait_s)

    # One object.

    def _lend(self, entry: PooledObject[T], *, fresh: bool = False, missed: bool = False) -> T:
        """Ready an object and put it on loan; one that is unfit is replaced by a new one."""
        if self._life.checks_loans:
            while not self._passes(self._life.is_fit_to_lend, entry):
                try:
                    self._life.destroy(entry)
                except BaseException:
                    self._put_back(PLACE)
                    raise
                if fresh:
                    self._put_back(PLACE)
                    raise ObjectUnfit(f"an object that pool {self.name} had just made is not fit to be lent")
                entry, fresh, missed = self._make(), True, True
        if self.options.trace:
            entry.borrowed_by = CallSite.here()
        item: Any = entry.item
        if self.options.guard:
            entry.lent = item = guard.guard(entry)
        if missed:
            entry.misses += 1
        else:
            entry.reuses += 1
        entry.borrowed_ns = _monotonic_ns()
        self._loans[id(item)] = entry
        lent: T = item
        return lent

    def _take_back(self, entry: PooledObject[T]) -> None:
        """Clean up an object that came back, and keep or destroy it."""
        if self.options.trace:
            entry.returned_by = CallSite.here()
        if self.options.guard:
            guard.revoke(entry.lent)
        fit = not self._life.checks_returns or self._passes(self._life.is_fit_to_keep, entry)
        if fit and (len(self._idle) < self._idle_max or self._pressed):
            self._put_back(entry)
        else:
            self._retire_all([entry])

    def _find_loan(self, item: T) -> PooledObject[T]:
        """Look again under the lock: `_reclaim_abandoned` may have held the loan in its hands."""
        with self._lock:
            entry = self._loans.pop(id(item), None)
        if entry is not None:
            return entry
        taken, borrower = self._taken_away.find(item)
        if taken:
            raise misuse.taken_away(self.name, borrower)
        known = self._life.find(guard.entry_of(item).item if isinstance(item, guard.Guard) else item)
        raise misuse.not_borrowed(self.name, item, known)
