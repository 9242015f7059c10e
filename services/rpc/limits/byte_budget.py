"""Byte budget: room for answers that clients have not read yet, shared fairly between connections."""

import asyncio
from collections import Counter, deque
from typing import NamedTuple


class _Waiter(NamedTuple):
    peer: str
    byte_count: int
    granted: asyncio.Future[None]


class ByteBudget:
    """Bytes that calls may hold, of one connection and of all. Lives in the event loop.

    Who finds no room waits, in the order of asking; a connection that has used up its own share holds up nobody else.
    """

    def __init__(self, *, bytes_max: int, connection_bytes_max: int) -> None:
        assert 0 < connection_bytes_max <= bytes_max
        self._bytes_max = bytes_max
        self._connection_bytes_max = connection_bytes_max
        self._held: Counter[str] = Counter()
        self._held_bytes = 0
        self._waiters: deque[_Waiter] = deque()

    @property
    def held_bytes(self) -> int:
        """Bytes that are held now."""
        return self._held_bytes

    async def reserve(self, peer: str, byte_count: int) -> None:
        """Hold ``byte_count`` bytes for ``peer``, at most a connection's share, as soon as there is room."""
        assert 0 <= byte_count <= self._connection_bytes_max
        if not self._waiters and self._fits(peer, byte_count):
            self._hold(peer, byte_count)
            return
        waiter = _Waiter(peer, byte_count, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        self._grant()  # those ahead may all wait for their own connection's share
        try:
            await waiter.granted
        except asyncio.CancelledError:
            if waiter.granted.done() and not waiter.granted.cancelled():
                self.release(peer, byte_count)
            else:
                self._grant()
            raise

    def release(self, peer: str, byte_count: int) -> None:
        """Give back bytes that ``peer`` holds, all or a part of what was reserved."""
        self._held_bytes -= byte_count
        self._held[peer] -= byte_count
        assert self._held[peer] >= 0
        if not self._held[peer]:
            del self._held[peer]
        self._grant()

    def _fits(self, peer: str, byte_count: int) -> bool:
        return (
            self._held_bytes + byte_count <= self._bytes_max
            and self._held[peer] + byte_count <= self._connection_bytes_max
        )

    def _hold(self, peer: str, byte_count: int) -> None:
        self._held[peer] += byte_count
        self._held_bytes += byte_count

    def _grant(self) -> None:
        kept: deque[_Waiter] = deque()
        while self._waiters:
            waiter = self._waiters.popleft()
            if waiter.granted.cancelled():
                continue
            if self._fits(waiter.peer, waiter.byte_count):
                self._hold(waiter.peer, waiter.byte_count)
                waiter.granted.set_result(None)
                continue
            kept.append(waiter)
            if self._held_bytes + waiter.byte_count > self._bytes_max:
                break  # nobody overtakes who waits for the room of all
        self._waiters.extendleft(reversed(kept))
