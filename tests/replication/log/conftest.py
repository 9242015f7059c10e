"""Fixtures of the log's tests: time and turns that a test gives."""

import pytest

from tests.fakes import ManualExecutor
from tests.replication.log.unsafe_disk import TurnClock


@pytest.fixture
def clock() -> TurnClock:
    return TurnClock()


@pytest.fixture
def executor() -> ManualExecutor:
    return ManualExecutor()
