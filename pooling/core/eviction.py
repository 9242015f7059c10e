"""Which idle objects have been idle for too long, and which are due for a test.

What is returned was taken out of the idle deque, so that it belongs to the caller alone. The deque is looked through
as a list. CPython allocates nothing while it fills one, other than a tuple, so that the collector, which may run
finalizers that return objects, does not come in between.
"""

import bisect
import heapq
from collections import deque
from collections.abc import Iterator
from typing import TypeVar

from pooling.core.pooled_object import PooledObject

T = TypeVar("T")


def take_overdue(idle: deque[PooledObject[T]], returned_before_ns: int, leave: int) -> list[PooledObject[T]]:
    """Take out the objects last returned before a moment, and leave ``leave`` idle ones at least."""
    overdue = [entry for entry in list(idle) if entry.returned_ns < returned_before_ns]
    overdue.sort(key=lambda entry: entry.returned_ns)
    taken = []
    for entry in overdue:
        if len(idle) <= leave:
            break
        if _take(idle, entry):
            taken.append(entry)
    return taken


def take_for_test(idle: deque[PooledObject[T]], count: int) -> Iterator[PooledObject[T]]:
    """Take out ``count`` objects at most, those tested longest ago; each when it is asked for, so others stay idle."""
    for entry in heapq.nsmallest(count, list(idle), key=lambda entry: entry.tested_ns):
        if _take(idle, entry):
            yield entry


def put_in_order(idle: deque[PooledObject[T]], entry: PooledObject[T]) -> None:
    """Put an object back to where it was: between those returned before it and those returned after."""
    idle.insert(bisect.bisect([each.returned_ns for each in list(idle)], entry.returned_ns), entry)


def take_oldest(idle: deque[PooledObject[T]], count: int) -> list[PooledObject[T]]:
    """Take out ``count`` objects at most, those at the end from which nothing that was just returned is taken."""
    taken: list[PooledObject[T]] = []
    try:
        while len(taken) < count:
            taken.append(idle.popleft())
    except IndexError:
        pass
    return taken


def _take(idle: deque[PooledObject[T]], entry: PooledObject[T]) -> bool:
    try:
        idle.remove(entry)
    except (ValueError, IndexError):  # a borrower was faster; IndexError: while the deque was searched
        return False
    return True
