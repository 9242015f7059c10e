"""Borrowers in line: threads and coroutines, woken one by one with what they waited for."""

import asyncio
import math
import threading
from typing import Any, Final, Protocol

_WAIT_MAX_S: Final = threading.TIMEOUT_MAX


class Waiter(Protocol):
    """One borrower in line."""

    outcome: Any
    """What it was given, or None as long as it waits. Set under the pool's lock."""

    def deliver(self, outcome: Any) -> bool:
        """Hand over what was waited for; returns False where nobody is left to take it. Called under the lock."""


class ThreadWaiter:
    """A thread, blocked on a lock of its own: waking one wakes no other."""

    __slots__ = ("_gate", "outcome")

    def __init__(self) -> None:
        self.outcome: Any = None
        self._gate = threading.Lock()
        self._gate.acquire()

    def deliver(self, outcome: Any) -> bool:
        """Wake the thread."""
        self.outcome = outcome
        self._gate.release()
        return True

    def wait(self, timeout_s: float) -> None:
        """Block until delivery or for ``timeout_s``; ``outcome`` tells which."""
        self._gate.acquire(timeout=-1 if math.isinf(timeout_s) else min(timeout_s, _WAIT_MAX_S))


class TaskWaiter:
    """A coroutine, suspended on a future of its own event loop; may be served from any thread."""

    __slots__ = ("_loop", "_woken", "outcome")

    def __init__(self) -> None:
        self.outcome: Any = None
        self._loop = asyncio.get_running_loop()
        self._woken: asyncio.Future[None] = self._loop.create_future()

    def deliver(self, outcome: Any) -> bool:
        """Wake the coroutine, unless its event loop was closed."""
        try:
            self._loop.call_soon_threadsafe(self._wake)
        except RuntimeError:
            return False
        self.outcome = outcome
        return True

    async def wait(self, timeout_s: float) -> None:
        """Suspend until delivery or for ``timeout_s``; ``outcome`` tells which."""
        await asyncio.wait((self._woken,), timeout=None if math.isinf(timeout_s) else timeout_s)

    def _wake(self) -> None:
        if not self._woken.done():
            self._woken.set_result(None)
