"""Flow control of a client: a bound on what is in flight, and the queue of those who wait for room."""

import asyncio
from collections import deque

import grpc

from penstock.client.errors import Unavailable
from penstock.client.options import FlowOptions


class FlowWindow:
    """Counts frames and transactions in flight; room is given in the order of asking. For one event loop."""

    def __init__(self, options: FlowOptions) -> None:
        self._frames_max = options.frames_max
        self._transactions_max = options.transactions_max
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.frames = 0
        self.transactions = 0

    def has_room(self, count: int) -> bool:
        """Whether ``count`` more transactions fit; a frame larger than the bound may be in flight alone."""
        if self.frames == 0:
            return True
        return self.frames < self._frames_max and self.transactions + count <= self._transactions_max

    def try_enter(self, count: int) -> bool:
        """Count a frame of ``count`` transactions in, if there is room and nobody waits; returns whether it did."""
        if self._waiting or not self.has_room(count):
            return False
        self.enter(count)
        return True

    def enter(self, count: int) -> None:
        """Count a frame of ``count`` transactions in, whether or not there is room."""
        self.frames += 1
        self.transactions += count

    def request(self, count: int) -> "asyncio.Future[None]":
        """Queue for room; when the future is done, a frame of ``count`` transactions has been counted in."""
        entered = asyncio.get_running_loop().create_future()
        self._waiting.append((count, entered))
        return entered

    async def wait_and_enter(self, count: int) -> None:
        """Count a frame of ``count`` transactions in, after all who are ahead in the queue, when there is room."""
        if self.try_enter(count):
            return
        entered = self.request(count)
        try:
            await entered
        except asyncio.CancelledError:
            if entered.cancelled():
                self._let_in()  # those behind may need less
            else:
                self.leave(count)
            raise

    def shrink(self, count: int) -> None:
        """Give back room of ``count`` transactions, by which a frame turned out smaller than it was counted."""
        self.transactions -= count
        self._let_in()

    def leave(self, count: int) -> None:
        """Count a frame of ``count`` transactions out, and let in those who now have room."""
        self.frames -= 1
        self.transactions -= count
        assert self.frames >= 0
        assert self.transactions >= 0
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting:
            wanted, entered = self._waiting[0]
            if not entered.cancelled():
                if not self.has_room(wanted):
                    return
                self.enter(wanted)
                entered.set_result(None)
            self._waiting.popleft()


def no_place() -> Unavailable:
    """The error of what was not sent, since too much was in flight until its deadline."""
    return Unavailable(
        "not sent: what was in flight was not answered by the deadline; nothing took effect",
        code=grpc.StatusCode.DEADLINE_EXCEEDED.value[0],
    )


async def enter_window(window: FlowWindow, count: int, deadline: float) -> None:
    """Count a frame of ``count`` transactions in when there is room.

    Raises:
        Unavailable: there was none by the deadline.
    """
    if window.try_enter(count):
        return
    try:
        async with asyncio.timeout_at(deadline):
            await window.wait_and_enter(count)
    except TimeoutError:
        raise no_place() from None
