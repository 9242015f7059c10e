"""Sessions: a transaction that is sent again takes effect once and answers its first result."""

import time

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.contract.flag import LINKED, OVERDRAFT
from penstock.contract.opcode import ADD, APPEND
from penstock.contract.record import RECORD
from penstock.contract.result_code import (
    DUPLICATE,
    INSUFFICIENT_FUNDS,
    LINKED_FAILED,
    OK,
    SEQUENCE_EXPIRED,
    SESSIONS_EXHAUSTED,
)
from statestore.state_machine import StateMachine
from tests.statestore.blocks import Feeder, Tx, add, opened, transfer
from tests.statestore.dict_model import Model

WINDOW = 131_072
PAGE = 4096
LAST = 2**64 - 1
HOUR_NS = 3_600_000_000_000


def count(sequence: int, client: int = 1) -> Tx:
    return Tx(ADD, key=b"counter", amount=1, client=client, sequence=sequence)


def counted(state: StateMachine) -> int:
    keys = np.frombuffer(b"counter", dtype=np.uint8)
    read = state.read(np.array([2], np.uint8), np.array([0], np.uint16), np.array([7], np.uint16), keys)
    return int(read.amounts[0])


def test_a_repeated_sequence_answers_the_first_result_and_takes_no_effect(feeder: Feeder) -> None:
    feeder.apply(opened(1), opened(2))
    refused = transfer(1, 2, 5, client=9, sequence=1)
    assert feeder.apply(refused, count(2, client=9)) == [INSUFFICIENT_FUNDS, OK]
    assert feeder.apply(refused, count(2, client=9)) == [INSUFFICIENT_FUNDS | DUPLICATE, OK | DUPLICATE]
    assert counted(feeder.state) == 1


def test_the_same_sequence_of_another_client_is_another_transaction(feeder: Feeder) -> None:
    assert feeder.apply(count(1, client=1), count(1, client=2), count(1, client=0)) == [OK, OK, OK]
    assert feeder.state.sessions == 3


def test_a_skipped_sequence_that_comes_late_is_applied_once(feeder: Feeder) -> None:
    assert feeder.apply(count(5), count(3), count(3), count(6), count(5)) == [
        OK,
        OK,
        OK | DUPLICATE,
        OK,
        OK | DUPLICATE,
    ]


def test_a_sequence_below_the_window_is_refused_and_the_lowest_within_is_not(feeder: Feeder) -> None:
    assert feeder.apply(count(1), count(2), count(WINDOW + 1)) == [OK, OK, OK]
    assert feeder.apply(count(1), count(2), count(3)) == [SEQUENCE_EXPIRED, OK | DUPLICATE, OK]


def test_results_of_a_window_ago_are_not_mistaken_for_new_ones(feeder: Feeder) -> None:
    first = list(range(1, 11))
    leap = 10 * WINDOW
    assert feeder.apply(*map(count, first)) == [OK] * 10
    assert feeder.apply(count(leap + 10)) == [OK]
    assert feeder.apply(*(count(leap + n) for n in reversed(first))) == [OK | DUPLICATE] + [OK] * 9
    assert feeder.apply(*(count(leap + n) for n in first)) == [OK | DUPLICATE] * 10


def test_a_chain_with_a_duplicate_changes_nothing(feeder: Feeder) -> None:
    assert feeder.apply(count(1)) == [OK]
    again = Tx(ADD, key=b"counter", amount=1, sequence=1, flags=LINKED)
    assert feeder.apply(again, count(2)) == [OK | DUPLICATE, LINKED_FAILED]
    assert counted(feeder.state) == 1
    assert feeder.apply(again, count(2)) == [OK | DUPLICATE, LINKED_FAILED | DUPLICATE]


def test_a_chain_sent_again_answers_as_it_did(feeder: Feeder) -> None:
    feeder.apply(opened(1, OVERDRAFT), opened(2))
    chain = feeder.numbered([transfer(1, 2, 5, LINKED), transfer(2, 1, 6)])
    assert feeder.apply(*chain) == [LINKED_FAILED, INSUFFICIENT_FUNDS]
    assert feeder.apply(*chain) == [LINKED_FAILED | DUPLICATE, INSUFFICIENT_FUNDS | DUPLICATE]


def test_a_new_client_without_a_free_session_is_refused_until_another_was_idle_for_the_horizon() -> None:
    with StateMachine(bytes_max=16 << 20, session_capacity=3, session_horizon_ns=HOUR_NS) as state:
        feeder = Feeder(state)
        assert feeder.apply(*(count(1, client) for client in (1, 2, 3, 4))) == [OK, OK, OK, SESSIONS_EXHAUSTED]
        feeder.time_ns += HOUR_NS
        assert feeder.apply(count(2, client=1), count(1, client=4)) == [OK, SESSIONS_EXHAUSTED]
        feeder.time_ns += 1
        assert feeder.apply(count(1, client=4), count(1, client=4)) == [OK, OK | DUPLICATE]
        assert state.sessions == 2
        assert feeder.apply(count(2, client=1), count(1, client=2), count(1, client=3)) == [
            OK | DUPLICATE,
            OK,
            SESSIONS_EXHAUSTED,
        ]


def test_a_refused_client_leaves_no_trace_in_the_state() -> None:
    with StateMachine(bytes_max=16 << 20, session_capacity=1) as state:
        feeder = Feeder(state)
        feeder.apply(count(1))
        before = state.state_digest()
        chain = [Tx(ADD, key=b"x", amount=1, client=2, sequence=1, flags=LINKED), count(2, client=2)]
        assert feeder.apply(count(1, client=2)) == [SESSIONS_EXHAUSTED]
        assert feeder.apply(*chain) == [SESSIONS_EXHAUSTED, LINKED_FAILED]
        assert state.state_digest() == before


def test_a_result_pushed_out_of_the_window_by_its_own_chain_marks_no_other_sequence(feeder: Feeder) -> None:
    ends = Tx(ADD, key=b"counter", amount=1, sequence=WINDOW + 2)
    assert feeder.apply(Tx(ADD, key=b"counter", amount=1, sequence=1, flags=LINKED), ends) == [OK, OK]
    assert feeder.apply(count(WINDOW + 1)) == [OK]


def test_sessions_of_many_clients_are_each_their_own(feeder: Feeder) -> None:
    clients = range(1, 61)
    assert feeder.apply(*(add(b"k", 1) for _ in range(3)), *(count(1, client=1000 + c) for c in clients)) == [OK] * 63
    assert feeder.apply(*(count(1, client=1000 + c) for c in clients)) == [OK | DUPLICATE] * 60


def test_leaps_of_almost_a_window_cost_no_more_than_two_pages_each(feeder: Feeder) -> None:
    leaps = np.zeros(10_000, dtype=RECORD)
    leaps["client_id"], leaps["operation"] = 1, APPEND
    leaps["sequence"] = np.arange(1, 10_001) * (WINDOW - 1)
    body = leaps.view(np.uint8)
    feeder.apply()  # compiled before the clock starts
    started_s = time.thread_time()
    assert set(feeder.apply_body(body, leaps.size)) == {OK}
    assert time.thread_time() - started_s < 0.1


def test_a_window_takes_memory_only_for_pages_with_results() -> None:
    with StateMachine(bytes_max=16 << 20, session_capacity=2, session_horizon_ns=HOUR_NS) as state:
        feeder = Feeder(state)
        assert state.session_bytes == 0
        feeder.apply(count(1))
        assert state.session_bytes == PAGE
        feeder.apply(count(PAGE - 1), count(PAGE))
        assert state.session_bytes == 2 * PAGE
        feeder.apply(count(20 * PAGE), count(100 * WINDOW + 40), count(99 * WINDOW + 41))
        assert state.session_bytes == 3 * PAGE
        feeder.apply(count(1, client=2))
        assert state.session_bytes == 4 * PAGE
        feeder.time_ns += HOUR_NS + 1
        feeder.apply(count(1, client=3))
        assert state.session_bytes == 4 * PAGE, "a forgotten session's memory serves the next one"


def test_the_memory_of_a_forgotten_session_tells_the_next_one_nothing() -> None:
    with StateMachine(bytes_max=16 << 20, session_capacity=1, session_horizon_ns=HOUR_NS) as state:
        feeder = Feeder(state)
        sequences = [*range(1, 50), PAGE, PAGE + 1, 9 * PAGE + 7]
        for client in (1, 2):
            assert feeder.apply(*(count(sequence, client) for sequence in sequences)) == [OK] * len(sequences)
            assert feeder.apply(count(9 * PAGE + 6, client), count(2, client)) == [OK, OK | DUPLICATE]
            feeder.time_ns += HOUR_NS + 1


def test_the_highest_number_is_a_sequence_like_any_other(feeder: Feeder) -> None:
    assert feeder.apply(count(LAST - WINDOW - 1), count(LAST - 100)) == [OK, OK]
    assert feeder.apply(count(LAST), count(LAST - 1), count(LAST)) == [OK, OK, OK | DUPLICATE]
    assert feeder.apply(count(0), count(1), count(LAST)) == [SEQUENCE_EXPIRED, SEQUENCE_EXPIRED, OK | DUPLICATE]


NEAR = st.sampled_from([0, WINDOW, 2 * WINDOW, LAST - 2 * WINDOW])
EDGES = st.builds(
    lambda near, page, offset: min(max(near + page * PAGE + offset, 1), LAST),
    NEAR,
    st.integers(0, 33),
    st.integers(-2, 2),
)


@settings(max_examples=300, deadline=None)
@given(sequences=st.lists(st.tuples(EDGES, st.sampled_from([0, 0, LINKED])), min_size=1, max_size=60))
def test_sequences_around_edges_of_pages_and_windows_are_each_applied_once(sequences: list[tuple[int, int]]) -> None:
    txs = [Tx(ADD, key=b"counter", amount=1, sequence=sequence, flags=flags) for sequence, flags in sequences]
    txs.append(count(5 * WINDOW))
    with StateMachine(bytes_max=16 << 20, session_capacity=1) as state:
        model = Model()
        for start in range(0, len(txs), 20):
            block = txs[start : start + 20]
            block[-1] = Tx(**{**block[-1].__dict__, "flags": 0})
            assert Feeder(state).apply(*block) == model.apply(block)
        assert state.state_digest() == model.state_digest()
