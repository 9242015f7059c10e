"""A transaction that is sent again takes effect once and answers its first result."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.contract.flag import OVERDRAFT
from penstock.contract.opcode import CAS, PUT
from penstock.contract.result_code import (
    DUPLICATE,
    INSUFFICIENT_FUNDS,
    OK,
    SEQUENCE_EXPIRED,
    SEQUENCE_REUSED,
)
from statestore.state_machine import StateMachine
from tests.statestore.blocks import Feeder, Tx, add, bounds, opened, transfer
from tests.statestore.sessions.counting import LAST, WINDOW, count, counted


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


def test_another_transaction_under_a_used_key_has_no_effect_and_its_answer_says_so(feeder: Feeder) -> None:
    """Transfer(1, 2, 1000) under the sequence of Transfer(1, 2, 1) was answered OK | DUPLICATE."""
    feeder.apply(opened(1, OVERDRAFT), opened(2))
    assert feeder.apply(transfer(1, 2, 1, client=7, sequence=1)) == [OK]
    before = feeder.state.state_digest()
    assert feeder.apply(transfer(1, 2, 1000, client=7, sequence=1)) == [SEQUENCE_REUSED]
    assert feeder.apply(transfer(1, 2, 1, client=7, sequence=1)) == [OK | DUPLICATE]
    assert feeder.state.state_digest() == before


@given(
    field=st.sampled_from(["operation", "key", "value", "amount", "operand", "flags", "namespace"]),
    long=st.booleans(),
    data=st.data(),
)
@settings(max_examples=100, deadline=None)
def test_any_difference_makes_it_another_transaction(field: str, long: bool, data: st.DataObject) -> None:
    key = b"a key longer than its record" if long else b"k"
    first = Tx(CAS, key=key, value=b"value", operand=0, client=3, sequence=9)
    other = {
        "operation": st.just(PUT),
        "key": st.binary(min_size=1, max_size=40),
        "value": st.binary(max_size=40),
        "amount": st.integers(-(2**63), 2**63 - 1),
        "operand": st.integers(0, 2**64 - 1),
        "flags": st.just(2),
        "namespace": st.integers(0, 65535),
    }[field]
    second = replace(first, **{field: data.draw(other)})  # type: ignore[arg-type] # drawn to fit the field
    with StateMachine(bytes_max=16 << 20, session_bounds=bounds(1)) as state:
        feeder = Feeder(state)
        assert feeder.apply(first) == [OK]
        assert feeder.apply(second) == [OK | DUPLICATE if second == first else SEQUENCE_REUSED]


def test_sessions_of_many_clients_are_each_their_own(feeder: Feeder) -> None:
    clients = range(1, 61)
    assert feeder.apply(*(add(b"k", 1) for _ in range(3)), *(count(1, client=1000 + c) for c in clients)) == [OK] * 63
    assert feeder.apply(*(count(1, client=1000 + c) for c in clients)) == [OK | DUPLICATE] * 60


def test_the_highest_number_is_a_sequence_like_any_other(feeder: Feeder) -> None:
    assert feeder.apply(count(LAST - WINDOW - 1), count(LAST - 100)) == [OK, OK]
    assert feeder.apply(count(LAST), count(LAST - 1), count(LAST)) == [OK, OK, OK | DUPLICATE]
    assert feeder.apply(count(0), count(1), count(LAST)) == [SEQUENCE_EXPIRED, SEQUENCE_EXPIRED, OK | DUPLICATE]
