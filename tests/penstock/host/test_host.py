"""The system's clock and threads do what their protocols promise."""

import threading

from penstock.host.clock import SYSTEM_CLOCK, Clock
from penstock.host.executor import THREADS, Executor
from tests.fakes import ManualClock, ManualExecutor


def test_waiting_ends_with_the_event_or_with_the_time() -> None:
    for clock in (SYSTEM_CLOCK, ManualClock()):
        checked: Clock = clock
        event = threading.Event()
        before_ns = checked.monotonic_ns()
        assert not checked.wait(event, 0.01)
        assert checked.monotonic_ns() - before_ns >= 10_000_000
        event.set()
        assert checked.wait(event, 1_000.0)


def test_what_is_started_runs_beside_its_caller_and_can_be_waited_for() -> None:
    for executor in (THREADS, ManualExecutor()):
        checked: Executor = executor
        ran = threading.Event()
        checked.start("worker", ran.set).join()
        assert ran.is_set()
