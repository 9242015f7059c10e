"""Wait strategies: what a consumer that finds nothing spends on seeing the next frame sooner.

After the Disruptor's. Each is a function with one interface, :data:`Wait`, over :class:`Pollable`. Nothing here is
compiled: settings name a strategy, and commands that only read them start fast.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final, Protocol, TypeAlias

from penstock.host.clock import Clock


class WaitStrategy(StrEnum):
    """The strategies by name."""

    SPIN = "spin"
    """Poll all the time. Wants a core of its own; sees a frame after some hundred nanoseconds."""
    YIELD = "yield"
    """Spin for a few microseconds, then poll between turns of other threads. Idle, it takes what nobody else wants."""
    PARK = "park"
    """Spin, yield a few times, then sleep until a producer wakes it: some ten microseconds, and no time when idle."""


EMPTY: Final = 0
"""What a poll found: nothing ..."""
READY: Final = 1
"""... or that a frame waits ..."""
INTERRUPTED: Final = 2
"""... or that somebody asked the consumer to return from its wait."""


class Pollable(Protocol):
    """What a consumer waits on."""

    def poll(self, rounds: int) -> int:
        """Looks so often for a frame, a processor's pause apart; returns EMPTY, READY or INTERRUPTED."""

    def park(self, timeout_s: float) -> None:
        """Sleeps until a frame is published, somebody interrupts, or the time is over; may return without a cause."""

    def yield_processor(self) -> None:
        """Lets another thread run, if one wants to."""


Wait: TypeAlias = Callable[[Pollable, float, Clock], int]
"""``wait(pollable, timeout_s, clock)``: returns what it found, EMPTY once the time is over, or sooner after a sleep."""

SPINS: Final = 200
"""Polls before any wait. A few microseconds: less than parking and waking cost."""
_SPINS_LONG: Final = 2000
"""Polls between two looks at the clock, for one who only spins."""
_YIELDS: Final = 4
"""Before parking: a producer that this thread keeps off a processor gets it."""


def spin(pollable: Pollable, timeout_s: float, clock: Clock) -> int:
    """See :attr:`WaitStrategy.SPIN`."""
    deadline_ns = _deadline_ns(timeout_s, clock)
    found = EMPTY
    while found == EMPTY and clock.monotonic_ns() < deadline_ns:
        found = pollable.poll(_SPINS_LONG)
    return found


def spin_and_yield(pollable: Pollable, timeout_s: float, clock: Clock) -> int:
    """See :attr:`WaitStrategy.YIELD`."""
    deadline_ns = _deadline_ns(timeout_s, clock)
    while clock.monotonic_ns() < deadline_ns:
        found = pollable.poll(1)
        if found != EMPTY:
            return found
        pollable.yield_processor()
    return EMPTY


def park(pollable: Pollable, timeout_s: float, _clock: Clock) -> int:
    """See :attr:`WaitStrategy.PARK`. Sleeps once, by the time of whatever it sleeps on."""
    for _ in range(_YIELDS):
        pollable.yield_processor()
        found = pollable.poll(1)
        if found != EMPTY:
            return found
    pollable.park(timeout_s)
    return pollable.poll(1)


WAITS: Final[Mapping[WaitStrategy, Wait]] = {
    WaitStrategy.SPIN: spin,
    WaitStrategy.YIELD: spin_and_yield,
    WaitStrategy.PARK: park,
}


def _deadline_ns(timeout_s: float, clock: Clock) -> int:
    return clock.monotonic_ns() + int(timeout_s * 1e9)
