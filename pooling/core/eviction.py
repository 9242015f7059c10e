"""Eviction: the idle objects that have been idle for too long, and those that are due for a test.

What a function returns was taken out of the idle deque, so it belongs to the caller. To look through the deque, it is
copied into a list: CPython allocates nothing while it fills a list or a tuple, so the collector, which may run
finalizers that return objects, cannot change the deque meanwhile.
"""

import bisect
import heapq
from collections import deque
from collections.abc import Iterator
from typing import TypeVar

from pooling.core.pooled_object import PooledObject

T = TypeVar("T")


def take_overdue(idle: deque[PooledObject[T]], returned_before_ns: int, idle_min: int) -> list[PooledObject[T]]:
    """Take out the objects last returned before a moment, oldest first, but leave at least ``idle_min`` idle ones."""
    overdue = [pooled for pooled in list(idle) if pooled.returned_ns < returned_before_ns]
    overdue.sort(key=lambda pooled: pooled.returned_ns)
    taken = []
    for pooled in overdue:
        if len(idle) <= idle_min:
            break
        if _take(idle, pooled):
            taken.append(pooled)
    return taken


def take_for_test(idle: deque[PooledObject[T]], count: int) -> Iterator[PooledObject[T]]:
    """Take out ``count`` objects at most, those tested longest ago; one at a time, so that the others stay idle."""
    for pooled in heapq.nsmallest(count, list(idle), key=lambda pooled: pooled.tested_ns):
        if _take(idle, pooled):
            yield pooled


def put_in_order(idle: deque[PooledObject[T]], pooled: PooledObject[T]) -> None:
    """Put an object back where it was: between those returned before it and those returned after."""
    idle.insert(bisect.bisect([each.returned_ns for each in list(idle)], pooled.returned_ns), pooled)


def take_oldest(idle: deque[PooledObject[T]], count: int) -> list[PooledObject[T]]:
    """Take out ``count`` objects at most, those returned longest ago first."""
    taken: list[PooledObject[T]] = []
    try:
        while len(taken) < count:
            taken.append(idle.popleft())
    except IndexError:
        pass
    return taken


def _take(idle: deque[PooledObject[T]], pooled: PooledObject[T]) -> bool:
    try:
        idle.remove(pooled)
    except (ValueError, IndexError):  # a borrower was faster; IndexError: while the deque was searched
        return False
    return True
