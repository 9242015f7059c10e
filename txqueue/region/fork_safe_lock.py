"""A fork-safe lock: reentrant, and open in a forked child whichever of the parent's threads had it."""

import threading
from types import TracebackType

from txqueue.region import fork


class ForkSafeLock:
    """Guards what a child begins anew, so that nobody minds what a thread that the child lacks had half done.

    Reentrant, as the collector may run finalizers wherever something is allocated, and they may need the lock.
    """

    __slots__ = ("__weakref__", "_lock")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        fork.disown_in_children(self)

    def disown(self) -> None:
        """Opens the lock in a forked child, unless it was the thread that forked which has it."""
        if not self._lock._is_owned():  # type: ignore[attr-defined]
            self._lock = threading.RLock()

    def __enter__(self) -> None:
        fork.generation()  # a child that was not told yet opens its locks now
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()
