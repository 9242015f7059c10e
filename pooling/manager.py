"""A manager of object pools: makes them, finds them by name or class, and sizes them under one memory budget."""

import logging
import math
import reprlib
from typing import Any, Final, NamedTuple, TypeVar, overload

from penstock.host.clock import SYSTEM_CLOCK, Clock
from pooling.core.errors import BudgetTooSmall, PoolClosed, PoolUnknown
from pooling.core.factory import CallableFactory, Factory
from pooling.core.object_pool import ObjectPool
from pooling.core.pool_metrics import PoolMetrics
from pooling.core.pool_options import PoolOptions
from pooling.sizing.pool_sizer import PoolSizer
from txqueue.region.fork import disown_in_children
from txqueue.region.fork_safe_lock import ForkSafeLock

T = TypeVar("T")

_OBJECT_BYTES: Final = 1024
"""Estimate of an object's size where none is given."""

_log: Final = logging.getLogger("penstock.pooling")


class Resized(NamedTuple):
    """The outcome of `ObjectPoolManager.optimize_pool_sizes` for one pool; sizes are numbers of objects."""

    name: str
    size_before: int
    wanted: int
    """The size that the demand calls for, regardless of the budget."""
    size: int


class _ManagedPool:
    """A pool with its sizer and the metrics that the sizer saw last."""

    def __init__(self, pool: ObjectPool[Any], object_bytes: int, clock: Clock) -> None:
        self.pool: Final = pool
        self.object_bytes: Final = object_bytes
        self._clock: Final = clock
        self.begin()

    def begin(self) -> None:
        """Learn from now on."""
        self._sizer = PoolSizer()
        self._sizer.observe(self._clock.time_ns(), 0, 0, 0, 0)  # the first interval begins here
        self._seen = self.pool.get_metrics()
        self._seen_ns = self._clock.monotonic_ns()

    def observe(self) -> PoolMetrics:
        """Show the sizer what has happened since it looked last."""
        now_ns = self._clock.monotonic_ns()
        now = self.pool.get_metrics()
        self._sizer.observe(
            self._clock.time_ns(),
            now.in_use,
            now.borrows - self._seen.borrows,
            now.misses - self._seen.misses,
            now.holding_ns - self._seen.holding_ns,
            self.pool.peak_since(self._seen_ns),
        )
        self._seen, self._seen_ns = now, now_ns
        return now

    def wanted(self, in_use: int, budget_bytes: int) -> int:
        """Tell how many objects the demand calls for, within what the pool's own options allow."""
        wanted = self._sizer.recommend(in_use, budget_bytes, self.object_bytes)
        return min(max(wanted, in_use + self.pool.options.idle_min), max(in_use, self.pool.max_total))


class ObjectPoolManager:
    """Makes pools, finds them, and shares a budget of memory among them. Any thread may use it.

    ``bytes_max`` is the budget: the objects of no pool may take more, and after `optimize_pool_sizes` those of all
    pools together do not, except that what is lent stays. Between two such calls, demand may take each pool up to its
    own maximum. ``clock`` is the pools' and the sizers' as well.
    """

    def __init__(self, bytes_max: int, clock: Clock = SYSTEM_CLOCK) -> None:
        assert bytes_max > 0
        self.bytes_max: Final = bytes_max
        self._clock: Final = clock
        self._lock = ForkSafeLock()
        self._pools: dict[str | type, _ManagedPool] = {}
        self._closed = False
        self._sizing_lock = ForkSafeLock()
        """Taken to size the pools: a sizer is for one thread, and two threads would each spend the whole budget."""
        disown_in_children(self)

    def create_pool(
        self,
        name: str,
        factory: Factory[T],
        options: PoolOptions = PoolOptions(),  # noqa: B008 - it cannot change
        *,
        object_bytes: int = _OBJECT_BYTES,
    ) -> ObjectPool[T]:
        """Make a pool; ``object_bytes`` is the most that one object takes, or an estimate of it.

        Raises:
            BudgetTooSmall: ``options.max_total`` objects exceed ``bytes_max``.
            ValueError: there is a pool of this name.
            PoolClosed: the manager was closed.
        """
        return self._add(name, name, factory, options, object_bytes)

    def register(
        self,
        kind: type[T],
        factory: Factory[T] | None = None,
        options: PoolOptions = PoolOptions(),  # noqa: B008
        *,
        object_bytes: int = _OBJECT_BYTES,
    ) -> ObjectPool[T]:
        """Make the pool of a class; without a factory, its objects are made by calling the class.

        Raises:
            BudgetTooSmall: ``options.max_total`` objects exceed ``bytes_max``.
            ValueError: the class has a pool.
            PoolClosed: the manager was closed.
        """
        return self._add(kind, _name_of(kind), factory or CallableFactory(kind), options, object_bytes)

    @overload
    def pool(self, kind: type[T]) -> ObjectPool[T]: ...

    @overload
    def pool(self, kind: str) -> ObjectPool[Any]: ...

    def pool(self, kind: str | type) -> ObjectPool[Any]:
        """Find a pool by its name or class; a class that was not registered gets a pool with the default options.

        Raises:
            PoolUnknown: there is no pool of this name.
            PoolClosed: the class has no pool, and the manager was closed.
        """
        managed = self._pools.get(kind)
        if managed is not None:
            return managed.pool
        if isinstance(kind, type):
            factory: Factory[Any] = CallableFactory(kind)
            return self._add(kind, _name_of(kind), factory, PoolOptions(), _OBJECT_BYTES, or_find=True)
        known = ", ".join(pool.name for pool in self.pools()) or "none yet"
        named = reprlib.repr(kind)  # cut short: it comes from outside, and goes into headers of a limited length
        raise PoolUnknown(f"no pool is named {named}: create it first; there are {known}")

    def pools(self) -> list[ObjectPool[Any]]:
        """Give all pools, in the order in which they were made."""
        with self._lock:
            return [managed.pool for managed in self._pools.values()]

    @overload
    def borrow_object(self, kind: type[T], timeout_s: float | None = None) -> T: ...

    @overload
    def borrow_object(self, kind: str, timeout_s: float | None = None) -> Any: ...

    def borrow_object(self, kind: str | type, timeout_s: float | None = None) -> Any:
        """Lend an object of a pool; see `ObjectPool.borrow_object`, faster for those who keep the pool."""
        return self.pool(kind).borrow_object(timeout_s)

    def return_object(self, kind: str | type, item: Any) -> None:
        """Take an object back into its pool; see `ObjectPool.return_object`."""
        self.pool(kind).return_object(item)

    def clear_pool(self, kind: str | type) -> int:
        """Destroy a pool's idle objects; return how many."""
        return self.pool(kind).clear()

    def resize_pool(self, kind: str | type, max_total: int) -> None:
        """Change how many objects a pool has at most; see `ObjectPool.resize`.

        Raises:
            PoolUnknown: there is no pool of this name.
            BudgetTooSmall: so many objects exceed ``bytes_max``.
            ValueError: ``max_total`` is less than 1.
        """
        pool = self.pool(kind)
        self._check_budget(pool.name, max_total, self._pools[kind].object_bytes)
        pool.resize(max_total)

    def get_pool_metrics(self) -> list[PoolMetrics]:
        """Tell what all pools have done and how they stand."""
        return [pool.get_metrics() for pool in self.pools()]

    def optimize_pool_sizes(self) -> list[Resized]:
        """Size every pool for the demand to come, learned from the intervals between calls, which should be equal.

        What is lent is never touched. Where the budget is short, what pools want beyond that is cut in proportion.
        """
        with self._sizing_lock:
            return self._optimize_pool_sizes()

    def _optimize_pool_sizes(self) -> list[Resized]:
        with self._lock:
            managed = list(self._pools.values())
        seen = [each.observe() for each in managed]
        wanted = [each.wanted(metrics.in_use, self.bytes_max) for each, metrics in zip(managed, seen, strict=True)]
        lent_bytes = sum(each.object_bytes * metrics.in_use for each, metrics in zip(managed, seen, strict=True))
        spare_bytes = sum(
            each.object_bytes * (size - metrics.in_use)
            for each, size, metrics in zip(managed, wanted, seen, strict=True)
        )
        granted = min(1.0, max(0, self.bytes_max - lent_bytes) / spare_bytes) if spare_bytes else 1.0
        resized = []
        for each, size, metrics in zip(managed, wanted, seen, strict=True):
            try:
                each.pool.adjust_size(metrics.in_use + math.floor((size - metrics.in_use) * granted))
            except Exception:  # one factory's trouble is not the other pools'
                _log.exception("pool %s could not be sized", each.pool.name)
            resized.append(Resized(each.pool.name, metrics.size, size, each.pool.in_use + each.pool.idle))
        return resized

    def maintain(self) -> None:
        """Maintain every pool; see `ObjectPool.maintain`. What a factory raises is logged."""
        for pool in self.pools():
            try:
                pool.maintain()
            except Exception:
                _log.exception("pool %s: its maintenance failed", pool.name)

    def close(self) -> None:
        """Close all pools; new ones are refused with `PoolClosed`."""
        with self._lock:
            self._closed = True
        for pool in self.pools():
            pool.close()

    def disown(self) -> None:
        """Begin anew in a forked child: its pools are empty, and their demand is not the parent's."""
        for managed in self._pools.values():
            managed.pool.disown()
            managed.begin()

    def _add(
        self,
        key: str | type,
        name: str,
        factory: Factory[T],
        options: PoolOptions,
        object_bytes: int,
        *,
        or_find: bool = False,
    ) -> ObjectPool[T]:
        self._check_budget(name, options.max_total, object_bytes)
        pool = ObjectPool(name, factory, options, self._clock)
        with self._lock:
            if self._closed:
                raise PoolClosed(f"there is no pool {name}, and none is made any more: its manager was closed")
            if key in self._pools:
                if or_find:  # another thread was faster
                    return self._pools[key].pool
                raise ValueError(f"there is a pool named {name} already: use it, or choose another name")
            self._pools[key] = _ManagedPool(pool, object_bytes, self._clock)
        return pool

    def _check_budget(self, name: str, max_total: int, object_bytes: int) -> None:
        if object_bytes * max_total > self.bytes_max:
            raise BudgetTooSmall(
                f"{max_total} objects of {object_bytes} bytes for pool {name} exceed the budget of {self.bytes_max} "
                f"bytes: ask for {self.bytes_max // object_bytes} at most, or raise the budget"
            )


def _name_of(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
