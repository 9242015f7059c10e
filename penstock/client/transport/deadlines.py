"""Deadlines of transactions that were added one by one: their timers, and which of them are over."""

import asyncio
from collections.abc import Callable, Collection
from typing import Final
from weakref import WeakSet

from penstock.client.transport.batch_frame import Waiter

_TOGETHER_S: Final = 0.02
"""Transactions that wait for the window and were added within this time of each other are given up together."""


class Deadlines:
    """Has the transactions given up whose time is over, those of one round of the event loop together.

    Args:
        usual_s: seconds that a transaction has without a deadline of its own.
        give_up: called with the waiters whose time is over, and which have no answer.
    """

    def __init__(self, usual_s: float, give_up: Callable[[set[Waiter]], None]) -> None:
        self.usual_s = usual_s
        self._give_up = give_up
        self._loop = asyncio.get_running_loop()
        self._timers: list[asyncio.TimerHandle] = []
        """They give up transactions of the gathering frame, at deadlines other than the frame's."""
        self._latest = 0.0
        """The latest deadline that a gathered transaction was given; 0: none was given any."""
        self._patient: WeakSet[Waiter] = WeakSet()
        """Those whose deadline is later than it usually is."""
        self._blocked: tuple[float, list[Waiter]] = (0.0, [])
        """The last transactions that were added while the frame waited for the window, and until when others join."""
        self._due: set[Waiter] = set()

    def at(self, deadline: float, waiters: Collection[Waiter]) -> asyncio.TimerHandle:
        """Give these up at ``deadline``, unless what this returns is cancelled before."""
        return self._loop.call_at(deadline, self._end, waiters)

    def note(self, waiters: Collection[Waiter], deadline: float) -> None:
        """Transactions of the gathering frame have a deadline of their own."""
        self._latest = max(self._latest, deadline)
        if deadline > self._loop.time() + self.usual_s:
            self._patient.update(waiters)

    def block(self, waiters: Collection[Waiter], since: float) -> None:
        """The gathering frame, whose first transaction was added at ``since``, waits for the window."""
        self._timers.append(self._loop.call_at(since + self.usual_s, self._end_usual, waiters))

    def add_blocked(self, waiters: list[Waiter]) -> None:
        """Others have joined a frame that waits for the window."""
        now = self._loop.time()
        until, group = self._blocked
        if now >= until:
            group = []
            self._blocked = (now + _TOGETHER_S, group)
            self.block(group, now)
        group.extend(waiters)

    def unblock(self) -> None:
        """The frame has entered the window."""
        self._blocked = (0.0, [])

    def take(self) -> tuple[list[asyncio.TimerHandle], float]:
        """The timers and the latest deadline of the frame that leaves; the next one begins without."""
        was = self._timers, self._latest
        self._timers, self._latest = [], 0.0
        return was

    def end_usual_at(self, deadline: float, waiters: Collection[Waiter]) -> asyncio.TimerHandle:
        """``at``, for those among them that have no later deadline of their own."""
        return self._loop.call_at(deadline, self._end_usual, waiters)

    def _end_usual(self, waiters: Collection[Waiter]) -> None:
        self._end([waiter for waiter in waiters if waiter not in self._patient])

    def _end(self, waiters: Collection[Waiter]) -> None:
        if not self._due:
            self._loop.call_soon(self._end_round)
        self._due.update(waiters)

    def _end_round(self) -> None:
        due, self._due = self._due, set()
        # A cancelled one has no answer, though nobody waits for it.
        self._give_up({waiter for waiter in due if waiter.cancelled() or not waiter.done()})
