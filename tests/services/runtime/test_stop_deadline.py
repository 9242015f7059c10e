"""A stop ends in time, or the process does."""

import logging
from collections.abc import Callable

import pytest

from services.runtime.stop_deadline import EXIT_CUT, StopDeadline
from tests.fakes import ManualClock, ManualExecutor, Parked


def test_a_stop_that_does_not_end_in_time_ends_the_process_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    ended: list[int] = []
    executor = ManualExecutor()
    with StopDeadline(7, ManualClock(), executor, ended.append) as deadline:
        deadline.begin()
        deadline.begin()
        (watch,) = executor.parked
        watch.run()
    assert ended == [EXIT_CUT]
    assert "has not stopped after 7 s" in caplog.text


def test_a_stop_that_ends_in_time_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    ended: list[int] = []
    executor = ManualExecutor()
    with caplog.at_level(logging.INFO), StopDeadline(7, ManualClock(), executor, ended.append) as deadline:
        deadline.begin()
    executor.parked[0].run()
    assert (ended, caplog.text) == ([], "")


def test_nothing_is_counted_before_the_stop_begins() -> None:
    executor = ManualExecutor()
    with StopDeadline(7, ManualClock(), executor, lambda _: None):
        assert executor.parked == []


class NoThreads(ManualExecutor):
    def start(self, name: str, function: Callable[[], None]) -> Parked:
        raise RuntimeError("can't start new thread")


def test_a_node_that_can_start_no_thread_stops_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    with StopDeadline(7, ManualClock(), NoThreads(), lambda _: None) as deadline:
        deadline.begin()
    assert "without a bound" in caplog.text
