"""The system's clock, which tells a test when a thread begins to wait."""

import threading

from penstock.host.clock import SystemClock


class WatchedClock(SystemClock):
    """Time passes as it does; ``waiting`` is released once for each wait that begins."""

    def __init__(self) -> None:
        self.waiting = threading.Semaphore(0)

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        self.waiting.release()
        return super().wait(event, timeout_s)

    def until_waiting(self, threads: int = 1) -> None:
        """Return once so many more threads have begun to wait."""
        for _ in range(threads):
            assert self.waiting.acquire(timeout=10), "a thread does not begin to wait"
