"""Results take memory as clients use it, and no more."""

import time
from pathlib import Path

import numpy as np

from penstock.contract.opcode import APPEND
from penstock.contract.record import RECORD
from penstock.contract.result_code import (
    DUPLICATE,
    OK,
)
from statestore.kernel import layout
from statestore.state_machine import StateMachine
from tests.statestore.blocks import Feeder, bounds
from tests.statestore.sessions.counting import (
    HOUR_NS,
    PAGE,
    PAGE_BYTES,
    SESSION_BYTES,
    WINDOW,
    count,
    pass_horizons,
)


def test_what_320_000_appends_of_invented_clients_take_is_bounded_and_small() -> None:
    """20 MB of them took 1.25 GB of memory for good; 65,536 clients could take 8 GiB."""
    with StateMachine(bytes_max=2 << 30) as state:
        feeder = Feeder(state)
        records = np.zeros(10_000, dtype=RECORD)
        records["operation"] = APPEND
        before = resident_bytes()
        for block in range(32):
            numbers = np.arange(10_000) + 10_000 * block
            records["client_id"], records["sequence"] = 1 + numbers % 65_536, 1 + numbers // 65_536 * 5000
            assert set(feeder.apply_body(records.view(np.uint8), 10_000)) == {OK}
        assert state.session_bytes <= state.session_bounds.bytes_max <= 1 << 28
        assert resident_bytes() - before < 170e6


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_leaps_of_almost_a_window_cost_next_to_nothing(feeder: Feeder) -> None:
    leaps = np.zeros(10_000, dtype=RECORD)
    leaps["client_id"], leaps["operation"] = 1, APPEND
    leaps["sequence"] = np.arange(1, 10_001) * (WINDOW - 1)
    body = leaps.view(np.uint8)
    feeder.apply()  # compiled before the clock starts
    started_s = time.thread_time()
    assert set(feeder.apply_body(body, leaps.size)) == {OK}
    assert time.thread_time() - started_s < 0.1


def test_a_client_takes_memory_only_for_pages_with_results() -> None:
    with StateMachine(bytes_max=16 << 20, session_bounds=bounds(2, HOUR_NS)) as state:
        feeder = Feeder(state)
        assert state.session_bytes == 0
        feeder.apply(count(1))
        assert state.session_bytes == SESSION_BYTES + PAGE_BYTES
        feeder.apply(count(PAGE - 1), count(PAGE))
        assert state.session_bytes == SESSION_BYTES + 2 * PAGE_BYTES
        feeder.apply(count(100 * WINDOW + 40), count(99 * WINDOW + 41))  # pages that expired go when another is taken
        assert state.session_bytes == SESSION_BYTES + 2 * PAGE_BYTES
        feeder.apply(count(1, client=2))
        assert state.session_bytes == 2 * SESSION_BYTES + 3 * PAGE_BYTES
        pass_horizons(feeder, 1.1)
        feeder.apply(count(1, client=3))
        assert state.session_bytes == 2 * SESSION_BYTES + 2 * PAGE_BYTES


def test_the_memory_of_a_forgotten_session_tells_the_next_one_nothing() -> None:
    with StateMachine(bytes_max=16 << 20, session_bounds=bounds(1, HOUR_NS)) as state:
        feeder = Feeder(state)
        sequences = [*range(1, 50), 64, 65, 9 * PAGE + 7]
        for client in (1, 2):
            assert feeder.apply(*(count(sequence, client) for sequence in sequences)) == [OK] * len(sequences)
            assert feeder.apply(count(9 * PAGE + 6, client), count(2, client)) == [OK, OK | DUPLICATE]
            pass_horizons(feeder, 1.1)


def test_a_client_that_goes_on_stays_in_its_part_of_the_index() -> None:
    with StateMachine(bytes_max=1 << 30) as state:
        feeder = Feeder(state)
        records = np.zeros(10_000, dtype=RECORD)
        records["operation"], records["client_id"] = APPEND, 1
        for block in range(6 * WINDOW // records.size):
            records["sequence"] = np.arange(1, 10_001) + 10_000 * block
            assert set(feeder.apply_body(records.view(np.uint8), records.size)) == {OK}
        slots = int(state._words[layout.PAGE_INDEX_MASK]) + 1
        first = int(state._words[layout.PAGE_INDEX])
        used = np.count_nonzero(state._words[first : first + 2 * slots : 2])
        assert 2 * WINDOW // PAGE * 0.9 < used <= 2 * WINDOW // PAGE
