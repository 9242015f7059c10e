"""A clock and an executor that a test moves by hand."""

import threading
from collections.abc import Callable


class ManualClock:
    """Time that passes when a test says so. Waiting for an event lets the time out pass at once."""

    def __init__(self, now_ns: int = 1_000_000_000_000) -> None:
        self.now_ns = now_ns
        self._lock = threading.Lock()

    def time_ns(self) -> int:
        return self.now_ns

    def monotonic_ns(self) -> int:
        return self.now_ns

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        if not event.is_set():
            self.advance(timeout_s)
        return event.is_set()

    def advance(self, seconds: float) -> None:
        with self._lock:
            self.now_ns += round(seconds * 1e9)


class SteppedClock(ManualClock):
    """A clock whose time of day is set, beside the time that passes."""

    step_ns = 0

    def time_ns(self) -> int:
        return self.now_ns + self.step_ns


class Parked:
    """A function that was handed to a `ManualExecutor` and runs when the test says so, in the test's own thread."""

    def __init__(self, name: str, function: Callable[[], None]) -> None:
        self.name = name
        self._function = function
        self.ended = False

    def run(self) -> None:
        assert not self.ended, f"{self.name} runs once"
        self.ended = True
        self._function()

    def join(self) -> None:
        if not self.ended:
            self.run()


class ManualExecutor:
    """Keeps what it is asked to run; a test runs it, or whoever joins it does."""

    def __init__(self) -> None:
        self.parked: list[Parked] = []

    def start(self, name: str, function: Callable[[], None]) -> Parked:
        parked = Parked(name, function)
        self.parked.append(parked)
        return parked
