"""Clocks: the system's own, or one that a simulation moves by hand."""

import threading
import time
from typing import Final, Protocol


class Clock(Protocol):
    """Tells the time, and waits for it to pass. Safe to use from any thread."""

    def time_ns(self) -> int:
        """Nanoseconds since the Unix epoch; may jump."""

    def monotonic_ns(self) -> int:
        """Nanoseconds since some moment; never goes back."""

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Wait until ``event`` is set, at most for ``timeout_s`` seconds; return whether it is."""


class SystemClock:
    """The time of the operating system. Asking for it is a call of C, with no Python in between."""

    time_ns = staticmethod(time.time_ns)
    monotonic_ns = staticmethod(time.monotonic_ns)

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """See :class:`Clock`."""
        return event.wait(timeout_s)


SYSTEM_CLOCK: Final = SystemClock()
