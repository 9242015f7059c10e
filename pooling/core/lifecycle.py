"""The objects of one pool from their making to their end, with the factory's hooks in between."""

import logging
import threading
import time
from typing import Final, Generic, TypeVar

from pooling.core.errors import ObjectUnfit
from pooling.core.factory import Factory
from pooling.core.pool_options import PoolOptions
from pooling.core.pooled_object import PooledObject

T = TypeVar("T")

_log: Final = logging.getLogger("penstock.pooling")


class Lifecycle(Generic[T]):
    """Calls the hooks that the factory overrides and the tests that the options ask for, and keeps the books.

    An object whose hook raises is as unfit as one that fails its validation; only `make` lets errors through.
    """

    def __init__(self, pool_name: str, factory: Factory[T], options: PoolOptions) -> None:
        self._pool_name = pool_name
        self._factory = factory
        self._activates = factory.overrides("activate")
        self._passivates = factory.overrides("passivate")
        self._options = options
        # Reentrant: the collector may run finalizers, and those destroy objects, wherever something is allocated.
        self._lock = threading.RLock()
        self._entries: dict[int, PooledObject[T]] = {}
        self._gone_borrows = self._gone_reuses = self._gone_holding_ns = 0
        self.made = self.destroyed = self.unfit = 0
        self.checks_loans: Final = self._activates or options.test_on_borrow
        self.checks_returns: Final = self._passivates or options.test_on_return

    def make(self) -> PooledObject[T]:
        """Make an object.

        Raises:
            ObjectUnfit: it failed ``test_on_create``. What the factory raises comes through.
        """
        item = self._factory.make()
        entry = PooledObject(item, time.monotonic_ns())
        with self._lock:
            assert id(item) not in self._entries, "a factory makes a new object each time"
            self._entries[id(item)] = entry
            self.made += 1
        try:
            fit = not self._options.test_on_create or self._survives("validate", entry)
        except BaseException:
            self.destroy(entry)
            raise
        if not fit:
            self.destroy(entry)
            raise ObjectUnfit(f"an object that pool {self._pool_name} had just made failed its validation")
        return entry

    def is_fit_to_lend(self, entry: PooledObject[T]) -> bool:
        """Activate an idle object and test it where that is asked for."""
        if self._activates and not self._survives("activate", entry):
            return False
        return not self._options.test_on_borrow or self._survives("validate", entry)

    def is_fit_to_keep(self, entry: PooledObject[T]) -> bool:
        """Test an object that came back, where that is asked for, and passivate it."""
        if self._options.test_on_return and not self._survives("validate", entry):
            return False
        return not self._passivates or self._survives("passivate", entry)

    def is_fit_while_idle(self, entry: PooledObject[T]) -> bool:
        """Test an idle object, awake as it would be for a borrower."""
        if self._activates and not self._survives("activate", entry):
            return False
        return self._survives("validate", entry) and (not self._passivates or self._survives("passivate", entry))

    def destroy(self, entry: PooledObject[T]) -> None:
        """End an object that the caller owns."""
        try:
            self._factory.destroy(entry.item)
        except Exception:
            _log.exception("pool %s: destroy failed", self._pool_name)
        finally:
            with self._lock:
                del self._entries[id(entry.item)]
                self.destroyed += 1
                self._gone_borrows += entry.borrows
                self._gone_reuses += entry.reuses
                self._gone_holding_ns += entry.holding_ns

    def find(self, item: object) -> PooledObject[T] | None:
        """Find a living object's record."""
        with self._lock:
            return self._entries.get(id(item))

    def totals(self) -> tuple[int, int, int]:
        """Add up the borrows, those of idle objects, and the nanoseconds on loan of all objects, living and gone."""
        with self._lock:
            living = list(self._entries.values())
            borrows, reuses, holding_ns = self._gone_borrows, self._gone_reuses, self._gone_holding_ns
        return (
            borrows + sum(entry.borrows for entry in living),
            reuses + sum(entry.reuses for entry in living),
            holding_ns + sum(entry.holding_ns for entry in living),
        )

    def used_since(self, since_ns: int) -> int:
        """Count the living objects that were on loan at some time since a moment of the monotonic clock."""
        with self._lock:
            living = list(self._entries.values())
        return sum(
            entry.borrows > 0 and (entry.returned_ns >= since_ns or entry.borrowed_ns > entry.returned_ns)
            for entry in living
        )

    def _survives(self, hook: str, entry: PooledObject[T]) -> bool:
        try:
            answer = getattr(self._factory, hook)(entry.item)
            fit = hook != "validate" or bool(answer)  # numpy's False is not Python's
        except Exception:
            _log.exception("pool %s: %s failed; the object is destroyed", self._pool_name, hook)
            fit = False
        if not fit:
            with self._lock:
                self.unfit += 1
        return fit
