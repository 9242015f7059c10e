"""Fixtures of the tests of the state machine."""

from collections.abc import Iterator

import pytest

from statestore.state_machine import StateMachine
from tests.statestore.blocks import Feeder, bounds


@pytest.fixture
def feeder() -> Iterator[Feeder]:
    with StateMachine(bytes_max=256 << 20, session_bounds=bounds(64)) as state:
        yield Feeder(state)
