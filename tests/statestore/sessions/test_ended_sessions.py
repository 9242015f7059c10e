"""An ended session gives its memory back, and forgets nothing that may still be on its way."""

from penstock.contract.result_code import (
    DUPLICATE,
    OK,
    SEQUENCE_EXPIRED,
    SEQUENCE_REUSED,
    SESSIONS_EXHAUSTED,
)
from statestore.state_machine import StateMachine
from tests.statestore.blocks import Feeder, bounds, end
from tests.statestore.sessions.counting import HOUR_NS, PAGE_BYTES, SESSION_BYTES, WINDOW, count, counted, pass_horizons


def test_an_ended_session_makes_room_after_a_quarter_of_the_horizon_and_before_the_others() -> None:
    with StateMachine(bytes_max=16 << 20, session_bounds=bounds(2, HOUR_NS)) as state:
        feeder = Feeder(state)
        feeder.apply(count(1, 1), count(1, 2), end(2, 2))
        assert feeder.apply(count(1, 3)) == [SESSIONS_EXHAUSTED]
        pass_horizons(feeder, 0.25)
        assert feeder.apply(count(1, 3)) == [SESSIONS_EXHAUSTED]
        feeder.time_ns += 1
        assert feeder.apply(count(1, 3), count(1, 1)) == [OK, OK | DUPLICATE]
        assert feeder.apply(count(1, 2)) == [SESSIONS_EXHAUSTED]


def test_nothing_that_was_on_its_way_when_a_session_ended_is_taken_for_new(feeder: Feeder) -> None:
    assert feeder.apply(count(1), count(2), end(1, 5)) == [OK, OK, OK]
    assert feeder.apply(count(1), count(4), end(1, 5), end(1, 3), count(5)) == [
        SEQUENCE_EXPIRED,
        SEQUENCE_EXPIRED,
        OK | DUPLICATE,
        SEQUENCE_EXPIRED,
        SEQUENCE_REUSED,
    ]
    assert feeder.apply(count(6), count(6), count(1), count(4), end(1, 5)) == [
        OK,
        OK | DUPLICATE,
        SEQUENCE_EXPIRED,
        SEQUENCE_EXPIRED,
        OK | DUPLICATE,
    ]
    assert counted(feeder.state) == 3
    assert feeder.apply(end(1, 6), end(1, 7), end(1, 9), count(8)) == [SEQUENCE_REUSED, OK, OK, SEQUENCE_EXPIRED]


def test_the_end_of_a_session_leaves_the_window_like_any_other_sequence(feeder: Feeder) -> None:
    assert feeder.apply(count(3), end(1, 5), count(WINDOW + 4)) == [OK, OK, OK]
    assert feeder.apply(end(1, 5), count(5)) == [OK | DUPLICATE, SEQUENCE_REUSED]
    assert feeder.apply(count(WINDOW + 5), end(1, 5), count(5)) == [OK, SEQUENCE_EXPIRED, SEQUENCE_EXPIRED]


def test_an_end_under_a_key_that_left_the_window_is_too_late(feeder: Feeder) -> None:
    assert feeder.apply(count(31), count(WINDOW + 30), end(1, 31)) == [OK, OK, SEQUENCE_REUSED]
    assert feeder.apply(count(WINDOW + 31), end(1, 31)) == [OK, SEQUENCE_EXPIRED]


def test_the_end_of_a_session_gives_its_memory_back(feeder: Feeder) -> None:
    feeder.apply(count(1, 1), *(count(sequence, 2) for sequence in range(1, 1001)))
    assert feeder.state.session_bytes == 2 * SESSION_BYTES + (1 + 32) * PAGE_BYTES
    assert feeder.apply(end(2, 1001)) == [OK]
    assert feeder.state.session_bytes == 2 * SESSION_BYTES + PAGE_BYTES
