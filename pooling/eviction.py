"""Which idle objects have been idle for too long, and which are due for a test.

Both take what they return out of the idle deque, so that it belongs to the caller alone.
"""

import heapq
from collections import deque
from typing import TypeVar

from pooling.entry import Entry

T = TypeVar("T")


def take_overdue(idle: deque[Entry[T]], returned_before_ns: int, leave: int) -> list[Entry[T]]:
    """Take out the objects last returned before a moment, and leave ``leave`` idle ones at least."""
    overdue = [entry for entry in tuple(idle) if entry.returned_ns < returned_before_ns]
    overdue.sort(key=lambda entry: entry.returned_ns)
    taken = []
    for entry in overdue:
        if len(idle) <= leave:
            break
        if _take(idle, entry):
            taken.append(entry)
    return taken


def take_for_test(idle: deque[Entry[T]], count: int) -> list[Entry[T]]:
    """Take out ``count`` objects at most, those tested longest ago."""
    candidates = heapq.nsmallest(count, tuple(idle), key=lambda entry: entry.tested_ns)
    return [entry for entry in candidates if _take(idle, entry)]


def take_oldest(idle: deque[Entry[T]], count: int) -> list[Entry[T]]:
    """Take out ``count`` objects at most, those at the end from which nothing that was just returned is taken."""
    taken: list[Entry[T]] = []
    try:
        while len(taken) < count:
            taken.append(idle.popleft())
    except IndexError:
        pass
    return taken


def _take(idle: deque[Entry[T]], entry: Entry[T]) -> bool:
    try:
        idle.remove(entry)
    except (ValueError, IndexError):  # a borrower was faster; IndexError: while the deque was searched
        return False
    return True
