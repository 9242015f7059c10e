"""A stop ends in time, or the process does."""

import logging

import pytest

from services.runtime.stop_deadline import EXIT_CUT, StopDeadline
from tests.fakes import ManualClock, ManualExecutor


def test_a_stop_that_does_not_end_in_time_ends_the_process_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    ended: list[int] = []
    executor = ManualExecutor()
    with StopDeadline(7, ManualClock(), executor, ended.append):
        executor.parked[0].run()
    assert ended == [EXIT_CUT]
    assert "has not stopped after 7 s" in caplog.text


def test_a_stop_that_ends_in_time_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    ended: list[int] = []
    executor = ManualExecutor()
    with caplog.at_level(logging.INFO), StopDeadline(7, ManualClock(), executor, ended.append):
        pass
    executor.parked[0].run()
    assert (ended, caplog.text) == ([], "")
