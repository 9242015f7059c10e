"""How a consumer waits for a frame: what it spends on seeing it sooner."""

import time
from typing import Final, assert_never

import numpy as np
from numpy.typing import NDArray

from txqueue.consumer import Consumer
from txqueue.region.futex import ParkingWord
from txqueue.ring import layout
from txqueue.ring.ring_waiting import NOTHING, PARKED, READY, look
from txqueue.wait_strategy import WaitStrategy

_SPINS: Final = 200
"""A few microseconds: less than parking and waking cost."""
_SPINS_LONG: Final = 2000
"""Between two looks at the clock, for one who only spins."""
_YIELDS: Final = 4
"""Before parking: a producer that this thread keeps off a processor gets it."""


class Waiting:
    """A consumer's wait, by one of the strategies."""

    def __init__(self, words: NDArray[np.uint64], consumer: Consumer, strategy: WaitStrategy) -> None:
        self._words = words
        self._consumer = consumer
        self._parking = ParkingWord(words, layout.PARKED)
        self._strategy = strategy

    def wait(self, timeout_s: float) -> bool:
        """Blocks until a frame waits, somebody interrupts, or the time is over; whether a frame waits.

        Raises:
            ConsumerBusy, ConsumerFenced: the caller is not the consumer.
        """
        words, kept = self._words, self._consumer.kept
        found = look(words, kept, _SPINS, 0)
        if found != NOTHING:
            return bool(found == READY)
        self._consumer.check()
        words[layout.WAITS] += np.uint64(1)
        match self._strategy:
            case WaitStrategy.SPIN:
                return self._look_until(timeout_s, _SPINS_LONG)
            case WaitStrategy.YIELD:
                return self._look_until(timeout_s, 1)
            case WaitStrategy.PARK:
                return self._park(timeout_s)
            case _:
                assert_never(self._strategy)

    def wake(self) -> None:
        """Wakes whoever is parked on this ring."""
        self._parking.wake()

    def _look_until(self, timeout_s: float, rounds: int) -> bool:
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            found = look(self._words, self._consumer.kept, rounds, 0)
            if found != NOTHING:
                return bool(found == READY)
            if rounds == 1:
                self._parking.yield_processor()
        self._consumer.check()
        return False

    def _park(self, timeout_s: float) -> bool:
        words, kept = self._words, self._consumer.kept
        for _ in range(_YIELDS):
            self._parking.yield_processor()
            found = look(words, kept, 1, 0)
            if found != NOTHING:
                return bool(found == READY)
        if look(words, kept, 0, 1) == PARKED:
            self._parking.wait(int(kept[layout.KEPT_PARKED]), timeout_s)
        found = look(words, kept, 1, 0)
        if found == NOTHING:
            self._consumer.check()
        return bool(found == READY)
