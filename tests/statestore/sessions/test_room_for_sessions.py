"""Room for sessions: who makes it, who is refused, and how the bounds change."""

import pytest

from penstock.contract.flag import LINKED
from penstock.contract.opcode import ADD
from penstock.contract.result_code import (
    DUPLICATE,
    LINKED_FAILED,
    OK,
    SESSIONS_EXHAUSTED,
)
from statestore.errors import RecordInvalid, StateFull
from statestore.session_bounds import SessionBounds
from statestore.state_machine import StateMachine
from tests.statestore.blocks import Feeder, Tx, bounds, set_bounds
from tests.statestore.sessions.counting import HOUR_NS, PAGE, PAGE_BYTES, SESSION_BYTES, count, pass_horizons


def test_a_new_client_without_a_free_session_is_refused_until_another_was_idle_for_the_horizon() -> None:
    with StateMachine(bytes_max=16 << 20, session_bounds=bounds(3, HOUR_NS)) as state:
        feeder = Feeder(state)
        assert feeder.apply(*(count(1, client) for client in (1, 2, 3, 4))) == [OK, OK, OK, SESSIONS_EXHAUSTED]
        pass_horizons(feeder, 1)
        assert feeder.apply(count(2, client=1), count(1, client=4)) == [OK, SESSIONS_EXHAUSTED]
        feeder.time_ns += 1
        assert feeder.apply(count(1, client=4), count(1, client=4)) == [OK, OK | DUPLICATE]
        assert state.sessions == 3
        # 2 was used before 3, so it alone made room; and now 3 does.
        assert feeder.apply(count(1, client=3), count(2, client=1), count(1, client=2)) == [
            OK | DUPLICATE,
            OK | DUPLICATE,
            SESSIONS_EXHAUSTED,
        ]


def test_the_least_recently_used_client_makes_room() -> None:
    with StateMachine(bytes_max=16 << 20, session_bounds=bounds(3, HOUR_NS)) as state:
        feeder = Feeder(state)
        feeder.apply(count(1, 1), count(1, 2), count(1, 3))
        pass_horizons(feeder, 0.5)
        feeder.apply(count(1, 1))  # a repeat is use, too
        pass_horizons(feeder, 0.75)
        assert feeder.apply(count(1, 4), count(1, 5), count(1, 6)) == [OK, OK, SESSIONS_EXHAUSTED]
        assert feeder.apply(count(1, 1)) == [OK | DUPLICATE]


@pytest.mark.parametrize("leap_ns", [HOUR_NS + 1, 10 * 365 * 24 * HOUR_NS])
def test_a_jump_of_the_clock_makes_nobody_old(leap_ns: int) -> None:
    """A node that ran for one block with its clock years ahead forgot everybody, and applied a retry again."""
    with StateMachine(bytes_max=16 << 20, session_bounds=bounds(1, HOUR_NS)) as state:
        feeder = Feeder(state)
        assert feeder.apply(count(1)) == [OK]
        feeder.time_ns += leap_ns
        assert feeder.apply(count(1, client=2), count(1)) == [SESSIONS_EXHAUSTED, OK | DUPLICATE]
        feeder.time_ns -= leap_ns  # and the way back does not make sessions live for ever
        feeder.apply(count(2))
        pass_horizons(feeder, 1.1)
        assert feeder.apply(count(1, client=2)) == [OK]


def test_bounds_are_changed_by_a_transaction() -> None:
    with StateMachine(bytes_max=16 << 20, session_bounds=bounds(1)) as state:
        feeder = Feeder(state)
        assert feeder.apply(count(1, 1), count(1, 2)) == [OK, SESSIONS_EXHAUSTED]
        wider = set_bounds(3, 2 * HOUR_NS, 100)
        assert feeder.apply(wider, count(1, 2), wider) == [OK, OK, OK]
        assert state.session_bounds == SessionBounds(3, 2 * HOUR_NS, 100)
        free = state.free_bytes
        assert feeder.apply(set_bounds(1, HOUR_NS, 10)) == [OK]
        assert state.free_bytes == free + 2 * SESSION_BYTES + 90 * PAGE_BYTES
        # Those above a lower bound stay as long as they may.
        assert feeder.apply(count(1, 3), count(1, 2), count(2, 2)) == [SESSIONS_EXHAUSTED, OK | DUPLICATE, OK]


@pytest.mark.parametrize(
    ("capacity", "page_capacity", "error"),
    [((1 << 20) + 1, 1, RecordInvalid), (1, (4 << 30) // PAGE_BYTES + 1, StateFull)],
)
def test_bounds_beyond_the_address_space_stop_the_state_machine(
    capacity: int, page_capacity: int, error: type[Exception]
) -> None:
    with StateMachine(bytes_max=16 << 20, session_bounds=bounds(1)) as state, pytest.raises(error):
        Feeder(state).apply(set_bounds(capacity, HOUR_NS, page_capacity))


def test_a_log_of_a_node_with_more_memory_is_replayed_into_less(feeder: Feeder) -> None:
    """What was admitted there need not be much; so what its sessions might have taken must not keep a node from it."""
    large, small = SessionBounds.within(8 << 30), SessionBounds.within(64 << 20)
    with StateMachine(bytes_max=64 << 20, session_bounds=large) as state:
        smaller = Feeder(state)
        again = set_bounds(large.capacity, large.horizon_ns, large.page_capacity)
        lower = set_bounds(small.capacity, small.horizon_ns, small.page_capacity)
        assert smaller.apply(count(1), again, count(2), lower) == [OK] * 4
        assert state.session_bounds == small
        assert state.free_bytes > 32 << 20


def test_bounds_that_a_log_began_with_and_no_address_space_holds_are_told_with_the_way_out() -> None:
    with pytest.raises(StateFull, match=r"set state\.bytes_max to at least 171798"):
        StateMachine(bytes_max=16 << 20, session_bounds=SessionBounds.of_bytes(1000, HOUR_NS, 8 << 30))


def test_invented_clients_run_out_of_pages_before_known_ones_do() -> None:
    """Fewer than a sixteenth of the pages is not given to newcomers, so a known client goes on."""
    pages = 32
    with StateMachine(bytes_max=16 << 20, session_bounds=bounds(1000)) as state:
        feeder = Feeder(state)
        feeder.apply(count(1), set_bounds(1000, HOUR_NS, pages))
        answers = feeder.apply(*(count(1, client) for client in range(100, 200)))
        assert answers == [OK] * 30 + [SESSIONS_EXHAUSTED] * 70
        assert feeder.apply(count(PAGE), count(PAGE), count(2 * PAGE), count(3)) == [
            OK,
            OK | DUPLICATE,
            SESSIONS_EXHAUSTED,
            OK,
        ]
        assert feeder.apply(count(PAGE + 1)) == [OK], "a refused sequence does not move the highest one"


def test_a_refused_client_leaves_no_trace_in_the_state() -> None:
    with StateMachine(bytes_max=16 << 20, session_bounds=bounds(1)) as state:
        feeder = Feeder(state)
        feeder.apply(count(1))
        before = state.state_digest()
        chain = [Tx(ADD, key=b"x", amount=1, client=2, sequence=1, flags=LINKED), count(2, client=2)]
        assert feeder.apply(count(1, client=2)) == [SESSIONS_EXHAUSTED]
        assert feeder.apply(*chain) == [SESSIONS_EXHAUSTED, LINKED_FAILED]
        assert state.state_digest() == before
