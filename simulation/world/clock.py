"""A node's clocks: a wall clock that jumps, and a monotonic one that runs a little too fast or too slow."""

import threading
from typing import Final

from simulation.world.timeline import Timeline

EPOCH_NS: Final = 1_700_000_000_000_000_000
"""Unix time at the beginning of every timeline."""


class NodeClock:
    """A `penstock.host.clock.Clock` on a timeline."""

    def __init__(self, timeline: Timeline, rate: float = 1.0) -> None:
        """Start at the timeline's moment; ``rate`` is nanoseconds told per nanosecond of the timeline."""
        self._timeline, self._rate = timeline, rate
        self.offset_ns = 0
        """How far the wall clock is ahead; a fault moves it."""

    def time_ns(self) -> int:
        """Nanoseconds since the Unix epoch, as the node believes."""
        return EPOCH_NS + self.offset_ns + self._timeline.now_ns

    def monotonic_ns(self) -> int:
        """Nanoseconds since the timeline's beginning, at the node's rate."""
        return round(self._timeline.now_ns * self._rate)

    def timeline_ns(self, duration_ns: int) -> int:
        """Return how long a duration of this clock takes on the timeline."""
        return round(duration_ns / self._rate)

    def wait(self, event: threading.Event, timeout_s: float) -> bool:  # noqa: ARG002 - nothing waits here
        """Tell whether ``event`` is set, at once: background work ends instead of waiting, and is given other turns."""
        return True
