"""Memory guard: keeps what calls make the node hold within a bound, and gives freed memory back to the system.

Answers, watches and frames that wait are counted where they are made. What gRPC holds of messages that have not come
whole is not: gRPC's own quota for it (C core's resource quota) cannot be set from Python. So the guard goes by the
process's memory, and ends calls that wait for messages where there is too much of it.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from penstock.contract.reasons import Reason
from services.refusal import Refusal
from services.runtime import malloc_tuning
from services.telemetry.conditions import Condition, Conditions
from services.telemetry.counters import Counter, Counters

TICK_S: Final = 0.05
"""Between looks: a hostile client can send 50 MB in this time."""
_QUIET_S: Final = 1.0
"""Without frames, after which memory is given back where nobody waits for it."""
_PAUSE_S_MAX: Final = 10.0
"""Between attempts to give memory back that come to nothing. Free memory cannot be told from other by its size."""
_WORTH_BYTES: Final = 16 << 20
"""What is worth an attempt."""

_REFUSAL: Final = Refusal(Reason.MEMORY_LIMIT, retry_after_ms=1_000)
_LATE: Final = Refusal(Reason.REQUEST_LATE)


class Arriving(Protocol):
    """What the guard ends: `services.rpc.limits.arriving_messages.ArrivingMessages`."""

    def __len__(self) -> int:
        """Calls that wait for messages."""

    def cut(self, calls: int, refusal: Refusal) -> int:
        """End up to so many calls."""

    def cut_late_requests(self, refusal: Refusal) -> int:
        """End calls whose requests are late."""


class MemoryGuard:
    """Runs in the event loop, by the loop's time, from `start` to `stop`."""

    def __init__(
        self,
        arriving: Arriving,
        conditions: Conditions,
        counters: Counters,
        bytes_max: int,
        *,
        anonymous_bytes: Callable[[], int] = malloc_tuning.anonymous_bytes,
        give_back: Callable[[], None] = malloc_tuning.give_back,
    ) -> None:
        """Guard a process.

        Args:
            arriving: calls that wait for messages, the only ones that are ended.
            conditions: told while calls are ended.
            counters: of the event loop; frames received say whether the node is busy, and calls ended are counted.
            bytes_max: what calls may take beyond what the process had at `start`.
            anonymous_bytes: reads the process's memory that is no file's.
            give_back: returns free memory to the system; runs in a thread.
        """
        self._arriving = arriving
        self._conditions = conditions
        self._counters = counters
        self._bytes_max = bytes_max
        self._anonymous_bytes = anonymous_bytes
        self._give_back = give_back
        self._at_start_bytes = 0
        self._grown_bytes = 0
        """What was held beyond that when memory was given back the last time."""
        self._frames = 0
        self._trim_at_s = 0.0
        self._pause_s = _QUIET_S
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, with what the process holds now as what it needs."""
        self._at_start_bytes = self._anonymous_bytes()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def tick(self) -> None:
        """Look once."""
        self._counters.add(Counter.CALLS_CUT, self._arriving.cut_late_requests(_LATE))
        now_s = asyncio.get_running_loop().time()
        frames_before, self._frames = self._frames, self._counters[Counter.FRAMES_RECEIVED]
        if self._frames != frames_before:
            self._trim_at_s = max(self._trim_at_s, now_s + _QUIET_S)
        grown = self._anonymous_bytes() - self._at_start_bytes
        if abs(grown - self._grown_bytes) >= _WORTH_BYTES:  # and some of it may be free by now
            self._pause_s = _QUIET_S
            self._trim_at_s = min(self._trim_at_s, now_s + _QUIET_S)
        if grown > self._bytes_max or (grown >= _WORTH_BYTES and now_s >= self._trim_at_s):
            grown = await self._trim(grown)
        if grown <= self._bytes_max:
            self._conditions.clear(Condition.MEMORY_SHORT)
            return
        # As many as hold the excess, where all hold the same.
        excess = grown - self._bytes_max
        cut = self._arriving.cut(-(-len(self._arriving) * excess // grown), _REFUSAL)
        self._counters.add(Counter.CALLS_CUT, cut)
        self._conditions.set(Condition.MEMORY_SHORT, f"{excess >> 20} MiB more than admission.call_bytes_max allows")

    async def _trim(self, grown: int) -> int:
        """Give memory back; returns what is left of what has ``grown``."""
        await asyncio.to_thread(self._give_back)
        self._grown_bytes = self._anonymous_bytes() - self._at_start_bytes
        self._pause_s = _QUIET_S if self._grown_bytes + _WORTH_BYTES <= grown else min(2 * self._pause_s, _PAUSE_S_MAX)
        self._trim_at_s = asyncio.get_running_loop().time() + self._pause_s
        return self._grown_bytes

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            await self.tick()
