"""Device: how long a node's disk takes, and what waits while it hangs. What is on its way is lost with the process."""

from collections.abc import Callable
from random import Random
from typing import Final

from simulation.world.timeline import MS, Timeline

_LATENCY_NS: Final = (MS // 5, MS)


class Device:
    """Completions of one node's disk."""

    def __init__(self, timeline: Timeline, rng: Random) -> None:
        self._timeline, self._rng = timeline, rng
        self.slowness_ns = 0
        """Added to each operation, at most."""
        self._hangs = 0
        self._waiting: list[Callable[[], None]] = []

    def complete(self, action: Callable[[], None]) -> None:
        """Let ``action`` happen when an operation that begins now has ended."""
        latency_ns = self._rng.randint(*_LATENCY_NS) + self._rng.randint(0, self.slowness_ns)
        self._timeline.after(latency_ns, lambda: self._end(action))

    def hang(self) -> None:
        """Let no operation end until `go_on`, as often as this was called."""
        self._hangs += 1

    def go_on(self) -> None:
        """End a hang."""
        self._hangs = max(0, self._hangs - 1)
        if not self._hangs:
            waiting, self._waiting = self._waiting, []
            for action in waiting:
                self._timeline.after(0, action)

    def heal(self) -> None:
        """End all hangs, and all slowness."""
        self.slowness_ns, self._hangs = 0, min(self._hangs, 1)
        self.go_on()

    def _end(self, action: Callable[[], None]) -> None:
        if self._hangs:
            self._waiting.append(action)
        else:
            action()
