"""The bound on what a client has travelling unanswered, and the queue of those who wait for room."""

import asyncio
from collections import deque

from penstock.client.options import FlowOptions


class Window:
    """Counts frames and transactions in flight; first come, first served. For one event loop."""

    def __init__(self, options: FlowOptions) -> None:
        self._frames_max = options.frames_max
        self._transactions_max = options.transactions_max
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.frames = 0
        self.transactions = 0

    def has_room(self, count: int) -> bool:
        """Whether ``count`` more transactions may leave now; a frame larger than the bound may, alone."""
        if self.frames == 0:
            return True
        return self.frames < self._frames_max and self.transactions + count <= self._transactions_max

    def offer(self, count: int) -> bool:
        """Counts in a frame of ``count`` transactions where there is room and nobody waits for it; says whether."""
        if self._waiting or not self.has_room(count):
            return False
        self.enter(count)
        return True

    def enter(self, count: int) -> None:
        """Counts in a frame of ``count`` transactions, whether or not there is room."""
        self.frames += 1
        self.transactions += count

    def request(self, count: int) -> "asyncio.Future[None]":
        """Queues for room; once the future is done, a frame of ``count`` transactions has been counted in."""
        admitted = asyncio.get_running_loop().create_future()
        self._waiting.append((count, admitted))
        return admitted

    async def wait_and_enter(self, count: int) -> None:
        """Counts in a frame of ``count`` transactions as soon as there is room and nobody is ahead in the queue."""
        if self.offer(count):
            return
        admitted = self.request(count)
        try:
            await admitted
        except asyncio.CancelledError:
            if not admitted.cancelled():
                self.leave(count)
            raise

    def shrink(self, count: int) -> None:
        """A frame just counted in turned out smaller by ``count`` transactions."""
        self.transactions -= count
        self._admit()

    def leave(self, count: int) -> None:
        """A frame was answered or given up; lets in whom there is room for now."""
        self.frames -= 1
        self.transactions -= count
        assert self.frames >= 0
        assert self.transactions >= 0
        self._admit()

    def _admit(self) -> None:
        while self._waiting:
            wanted, admitted = self._waiting[0]
            if not admitted.cancelled():
                if not self.has_room(wanted):
                    return
                self.enter(wanted)
                admitted.set_result(None)
            self._waiting.popleft()
