"""The lifecycle of a pool's objects, from their making to their destruction, with the factory's hooks in between."""

import ctypes
import logging
from collections.abc import Callable, Container
from typing import Final, Generic, TypeVar

from pooling.core.errors import ObjectInvalid
from pooling.core.factory import Factory
from pooling.core.pool_options import PoolOptions
from pooling.core.pooled_object import PooledObject
from txqueue.region import fork
from txqueue.region.fork_safe_lock import ForkSafeLock

T = TypeVar("T")

_log: Final = logging.getLogger("penstock.pooling")


class Lifecycle(Generic[T]):
    """Calls the hooks that the factory overrides and the tests that the options ask for, and counts.

    An object whose hook raises is as invalid as one that fails its validation; only what `make` raises goes further.
    """

    def __init__(self, pool_name: str, factory: Factory[T], options: PoolOptions, now_ns: Callable[[], int]) -> None:
        self._pool_name = pool_name
        self._factory = factory
        self._activates = factory.overrides("activate")
        self._passivates = factory.overrides("passivate")
        self._options = options
        self._now_ns = now_ns
        self._lock = ForkSafeLock()
        self._alive: dict[int, PooledObject[T]] = {}
        """By the id of the object itself."""
        self._destroyed_borrows = self._destroyed_reuses = self._destroyed_holding_ns = 0
        """Sums over the objects that were destroyed."""
        self.made = self.destroyed = self.invalid = 0
        self.checks_borrows: Final = self._activates or options.test_on_borrow
        self.abandons: Final = factory.overrides("abandon")
        self.checks_returns: Final = self._passivates or options.test_on_return

    def make(self) -> PooledObject[T]:
        """Make an object.

        Raises:
            ObjectInvalid: it failed ``test_on_create``.
            Exception: what the factory's ``make`` raises.
        """
        item = self._factory.make()
        pooled = PooledObject(item, self._now_ns())
        with self._lock:
            assert id(item) not in self._alive, "a factory makes a new object each time"
            self._alive[id(item)] = pooled
            self.made += 1
        try:
            valid = not self._options.test_on_create or self._passes("validate", pooled)
        except BaseException:
            self.destroy(pooled)
            raise
        if not valid:
            self.destroy(pooled)
            raise ObjectInvalid(f"an object that pool {self._pool_name} had just made failed its validation")
        return pooled

    def passes_on_borrow(self, pooled: PooledObject[T]) -> bool:
        """Activate an idle object, and validate it where the options say so; tell whether it may be lent."""
        if self._activates and not self._passes("activate", pooled):
            return False
        return not self._options.test_on_borrow or self._passes("validate", pooled)

    def passes_on_return(self, pooled: PooledObject[T]) -> bool:
        """Validate an object that came back, where the options say so, and passivate it; tell whether it may stay."""
        if self._options.test_on_return and not self._passes("validate", pooled):
            return False
        return not self._passivates or self._passes("passivate", pooled)

    def passes_while_idle(self, pooled: PooledObject[T]) -> bool:
        """Validate an idle object, activated as it would be for a borrower; tell whether it may stay."""
        if self._activates and not self._passes("activate", pooled):
            return False
        return self._passes("validate", pooled) and (not self._passivates or self._passes("passivate", pooled))

    def destroy(self, pooled: PooledObject[T]) -> None:
        """Destroy an object that the caller owns; one that the parent process made is only forgotten."""
        try:
            if pooled.generation == fork.generation():
                self._factory.destroy(pooled.item)
        except Exception:
            _log.exception("pool %s: destroy failed", self._pool_name)
        finally:
            with self._lock:
                self._alive.pop(id(pooled.item), None)
                self.destroyed += 1
                self._destroyed_borrows += pooled.borrows
                self._destroyed_reuses += pooled.reuses
                self._destroyed_holding_ns += pooled.holding_ns

    def find(self, item: object) -> PooledObject[T] | None:
        """Find the record of an object that was not destroyed."""
        with self._lock:
            return self._alive.get(id(item))

    def alive(self) -> list[PooledObject[T]]:
        """Give the records of all objects that were not destroyed. One step for the interpreter: no lock."""
        return list(self._alive.values())

    def abandon(self, pooled: PooledObject[T]) -> None:
        """Let go of an object that the parent process made; without a hook for that, never finalize it.

        A finalizer could say goodbye to the other side of a connection in the parent's name, at the latest when the
        interpreter ends.
        """
        if not self.abandons:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(pooled.item))
            return
        try:
            self._factory.abandon(pooled.item)
        except Exception:
            _log.exception("pool %s: abandon failed", self._pool_name)

    def totals(self) -> tuple[int, int, int]:
        """Add up borrows, borrows of idle objects, and nanoseconds on loan, of all objects that there ever were."""
        with self._lock:
            alive = list(self._alive.values())
            borrows, reuses = self._destroyed_borrows, self._destroyed_reuses
            holding_ns = self._destroyed_holding_ns
        return (
            borrows + sum(pooled.borrows for pooled in alive),
            reuses + sum(pooled.reuses for pooled in alive),
            holding_ns + sum(pooled.holding_ns for pooled in alive),
        )

    def count_used_since(self, since_ns: int, loans: Container[int]) -> int:
        """Count the objects not destroyed that were on loan at some time since a moment of the pool's clock.

        ``loans`` has the ids of what is on loan, all but what is being borrowed or returned at this moment.
        """
        return sum(
            pooled.borrows > 0
            and (pooled.returned_ns >= since_ns or pooled.borrowed_ns > pooled.returned_ns or id(pooled.lent) in loans)
            for pooled in self.alive()
        )

    def _passes(self, hook: str, pooled: PooledObject[T]) -> bool:
        if pooled.generation != fork.generation():
            return False
        try:
            answer = getattr(self._factory, hook)(pooled.item)
            passed = hook != "validate" or bool(answer)  # numpy's False is not Python's
        except Exception:
            _log.exception("pool %s: %s failed; the object is destroyed", self._pool_name, hook)
            passed = False
        if not passed:
            with self._lock:
                self.invalid += 1
        return passed
