"""Lock-based object pool to compare with: Apache Commons Pool's GenericObjectPool in plain Python.

It does what costs time there: a lock and a condition around the deque of idle objects, a lock for each object's state,
a map of all objects in which a return is looked up, times and counts of every loan, and calls of the factory's hooks.
It is a measure and not a pool to use: nothing is evicted, and misuse is only detected.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final


class _Pooled:
    """An object with its state, as PooledObject has it."""

    def __init__(self, item: Any) -> None:
        self.item: Final = item
        self.lock: Final = threading.Lock()
        self.lent = False
        self.borrows = 0
        self.borrowed_ns = 0
        self.returned_ns = 0

    def allocate(self) -> bool:
        with self.lock:
            if self.lent:
                return False
            self.lent = True
            self.borrowed_ns = time.monotonic_ns()
            self.borrows += 1
            return True

    def deallocate(self) -> bool:
        with self.lock:
            if not self.lent:
                return False
            self.lent = False
            self.returned_ns = time.monotonic_ns()
            return True


class LockedPool:
    """Lends up to ``max_total`` objects, the last returned first; waits for one where all are lent."""

    def __init__(self, make: Callable[[], Any], max_total: int) -> None:
        self._make = make
        self._max_total = max_total
        self._idle: Final[deque[_Pooled]] = deque()
        self._returned: Final = threading.Condition()
        self._all: Final[dict[int, _Pooled]] = {}
        self._borrowed = 0
        self._holding_ns = 0

    def borrow_object(self) -> Any:
        """Lend an object."""
        while True:
            pooled = self._poll()
            if pooled.allocate():
                break
        self._activate(pooled.item)
        with self._returned:
            self._borrowed += 1
        return pooled.item

    def return_object(self, item: Any) -> None:
        """Take an object back.

        Raises:
            ValueError: the object is not on loan.
        """
        pooled = self._all.get(id(item))
        if pooled is None or not pooled.deallocate():
            raise ValueError("the object was returned before, or is not of this pool")
        self._passivate(item)
        with self._returned:
            self._holding_ns += pooled.returned_ns - pooled.borrowed_ns
            self._idle.append(pooled)
            self._returned.notify()

    def _poll(self) -> _Pooled:
        with self._returned:
            if not self._idle and len(self._all) < self._max_total:
                pooled = _Pooled(self._make())
                self._all[id(pooled.item)] = pooled
                return pooled
            while not self._idle:
                self._returned.wait()
            return self._idle.pop()

    def _activate(self, item: Any) -> None:
        """Call of a factory's hook."""

    def _passivate(self, item: Any) -> None:
        """Call of a factory's hook."""
