"""Every wait strategy finds what comes, ends in time, and spends what its name says; no ring and no time are needed."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes import ManualClock
from txqueue.ring.wait_strategy import EMPTY, INTERRUPTED, READY, WAITS, WaitStrategy, park, spin, spin_and_yield

POLL_S = 0.25


class FakeRing:
    """Each poll takes a while, and finds what it is told to; each sleep takes all of its time, or is woken."""

    def __init__(self, found: Callable[[int], int] = lambda _: EMPTY) -> None:
        self.clock = ManualClock()
        self.found = found
        self.polls = 0
        self.yields = 0
        self.sleeps_s: list[float] = []

    def poll(self, rounds: int) -> int:
        assert rounds > 0
        self.polls += 1
        self.clock.advance(POLL_S)
        return self.found(self.polls)

    def park(self, timeout_s: float) -> None:
        self.sleeps_s.append(timeout_s)

    def yield_processor(self) -> None:
        self.yields += 1


@pytest.mark.parametrize("strategy", WaitStrategy)
@pytest.mark.parametrize("outcome", [READY, INTERRUPTED])
@pytest.mark.parametrize("poll", [1, 3, 5])
def test_a_wait_returns_what_a_poll_found_and_looks_no_further(strategy: WaitStrategy, outcome: int, poll: int) -> None:
    ring = FakeRing(lambda polls: outcome if polls == poll else EMPTY)
    assert WAITS[strategy](ring, 60, ring.clock) == outcome
    assert ring.polls == poll


@pytest.mark.parametrize("strategy", WaitStrategy)
def test_a_wait_for_nothing_ends(strategy: WaitStrategy) -> None:
    ring = FakeRing()
    assert WAITS[strategy](ring, 2, ring.clock) == EMPTY


@pytest.mark.parametrize("wait", [spin, spin_and_yield])
def test_one_that_never_sleeps_polls_until_its_time_is_over(wait: Callable[..., int]) -> None:
    ring = FakeRing()
    wait(ring, 2, ring.clock)
    assert ring.polls == 2 / POLL_S
    assert ring.sleeps_s == []
    assert ring.yields == (ring.polls if wait is spin_and_yield else 0)


def test_parking_yields_a_few_times_then_sleeps_once_and_looks_again() -> None:
    ring = FakeRing(lambda polls: READY if polls == 5 else EMPTY)
    assert park(ring, 2, ring.clock) == READY
    assert (ring.yields, ring.sleeps_s) == (4, [2])


def test_naming_a_strategy_loads_no_compiler() -> None:
    script = "import sys, txqueue.ring.wait_strategy; sys.exit('numba' in sys.modules or 'llvmlite' in sys.modules)"
    command = [sys.executable, "-c", script]
    assert subprocess.run(command, cwd=Path(__file__).parents[3], check=False).returncode == 0
