"""Waiters: threads and coroutines in a pool's wait queue, woken one by one with what they waited for."""

import asyncio
import math
import threading
from typing import Any, Final, Protocol

from penstock.host.clock import Clock


class Waiter(Protocol):
    """One borrower in the wait queue."""

    outcome: Any
    """What it was given, or None as long as it waits. Set under the pool's lock."""

    def deliver(self, outcome: Any) -> bool:
        """Hand over what was waited for; return False where nobody is left to take it. Called under the lock."""


class _OneShotEvent(threading.Event):
    """An event for one waiting thread that is set once: a lock, without the condition variable of its base class.

    The collector may run a finalizer in a thread that is about to wait, and the finalizer may return the very object
    that the thread is waiting for. An event with a condition variable would then wait for itself.
    """

    def __init__(self) -> None:
        self._gate: Final = threading.Lock()
        self._gate.acquire()
        self._is_set = False

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        self._gate.release()

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self._gate.acquire(timeout=timeout)
        return self._is_set


class ThreadWaiter:
    """A thread, blocked on an event of its own: waking one wakes no other."""

    __slots__ = ("_clock", "_delivered", "outcome")

    def __init__(self, clock: Clock) -> None:
        self.outcome: Any = None
        self._clock = clock
        self._delivered = _OneShotEvent()

    def deliver(self, outcome: Any) -> bool:
        """Wake the thread."""
        self.outcome = outcome
        self._delivered.set()
        return True

    def wait(self, timeout_s: float) -> None:
        """Block until delivery or for ``timeout_s``; ``outcome`` tells which."""
        self._clock.wait(self._delivered, min(timeout_s, threading.TIMEOUT_MAX))


class TaskWaiter:
    """A coroutine, suspended on a future of its own event loop; any thread may wake it."""

    __slots__ = ("_delivered", "_loop", "outcome")

    def __init__(self) -> None:
        self.outcome: Any = None
        self._loop = asyncio.get_running_loop()
        self._delivered: asyncio.Future[None] = self._loop.create_future()

    def deliver(self, outcome: Any) -> bool:
        """Wake the coroutine, unless its event loop was closed."""
        try:
            self._loop.call_soon_threadsafe(self._wake)
        except RuntimeError:
            return False
        self.outcome = outcome
        return True

    async def wait(self, timeout_s: float) -> None:
        """Suspend until delivery or for ``timeout_s`` of the event loop's time; ``outcome`` tells which."""
        await asyncio.wait((self._delivered,), timeout=None if math.isinf(timeout_s) else timeout_s)

    def _wake(self) -> None:
        if not self._delivered.done():
            self._delivered.set_result(None)
