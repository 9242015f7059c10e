"""The disk wait: since when a thread waits for the disk, which may never answer.

A thread in a write to a frozen disk cannot tell of it; whoever looks from outside can.
"""

from collections.abc import Callable
from types import TracebackType


class DiskWait:
    """Written by one thread, which is waiting while it is in the ``with`` block; read by any thread."""

    __slots__ = ("_began_ns", "_monotonic_ns")

    def __init__(self, monotonic_ns: Callable[[], int]) -> None:
        """Take the time from ``monotonic_ns``."""
        self._monotonic_ns = monotonic_ns
        self._began_ns: int | None = None

    def __enter__(self) -> None:
        self._began_ns = self._monotonic_ns()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._began_ns = None

    def lasts_s(self) -> float:
        """Seconds since the wait began that is under way; 0 where none is."""
        began_ns = self._began_ns
        return 0.0 if began_ns is None else (self._monotonic_ns() - began_ns) / 1e9
