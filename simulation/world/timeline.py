"""Timeline: virtual time, and a queue of what happens when. Nothing waits, so an hour takes as long as its events."""

from collections.abc import Callable
from heapq import heappop, heappush

MS = 1_000_000
"""A millisecond in ns."""
SECOND = 1_000_000_000
"""A second in ns."""


class Timeline:
    """What will happen, in the order of time; of one moment's events the one first asked for is first."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.steps = 0
        """Events so far."""
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._asked = 0

    def after(self, delay_ns: int, action: Callable[[], None]) -> None:
        """Let ``action`` happen ``delay_ns`` from now; an event cannot be taken back, so it looks whether it is due."""
        assert delay_ns >= 0, "nothing happens in the past"
        self._asked += 1
        heappush(self._queue, (self.now_ns + delay_ns, self._asked, action))

    def step(self) -> bool:
        """Let the next event happen; False where there is none."""
        if not self._queue:
            return False
        self.now_ns, _, action = heappop(self._queue)
        self.steps += 1
        action()
        return True
