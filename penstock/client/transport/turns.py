"""Turns: the queue of submitters that wait for room in the gathering frame."""

import asyncio
from collections import deque


class Turns:
    """Wakes those who wait in the order in which they came. For one event loop."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def wait(self) -> None:
        """Wait until it is this one's turn; a turn that is cancelled goes to the next."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.wake(1)  # it was this one's turn: pass it on
            raise

    def wake(self, count: int) -> None:
        """Wake the first ``count`` that wait; there may be many more than a frame holds."""
        while self._waiting and count:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                count -= 1

    def wake_all(self) -> None:
        """Wake all that wait now."""
        self.wake(len(self._waiting))
