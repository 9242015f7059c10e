"""A chain that is sent again, or that holds a transaction twice, takes effect once."""

from dataclasses import replace

from penstock.contract.flag import LINKED, OVERDRAFT
from penstock.contract.opcode import ADD
from penstock.contract.result_code import (
    ACCOUNT_NOT_FOUND,
    DUPLICATE,
    INSUFFICIENT_FUNDS,
    LINKED_FAILED,
    OK,
    SEQUENCE_REUSED,
)
from tests.statestore.blocks import Feeder, Tx, opened, transfer
from tests.statestore.sessions.counting import WINDOW, count, counted, linked


def test_a_transaction_sent_twice_inside_one_chain_takes_effect_once(feeder: Feeder) -> None:
    """The chain (client 7, sequence 1), (8, 1), (7, 1), each ADD 1, was answered OK three times with a counter of 3."""
    chain = [linked(count(1, 7)), linked(count(1, 8)), linked(count(1, 7)), count(2, 8)]
    assert feeder.apply(*chain) == [OK, OK, OK | DUPLICATE, OK]
    assert counted(feeder.state) == 3
    assert feeder.apply(*chain) == [OK | DUPLICATE] * 4
    assert counted(feeder.state) == 3


def test_a_repeat_inside_a_chain_that_fails_answers_what_the_first_one_did(feeder: Feeder) -> None:
    feeder.apply(opened(1), opened(2))
    too_much = linked(transfer(1, 2, 5, client=7, sequence=1))
    chain = [too_much, linked(count(1, 8)), too_much, linked(count(2, 8)), linked(count(2, 8)), count(3, 8)]
    failed = LINKED_FAILED
    assert feeder.apply(*chain) == [
        INSUFFICIENT_FUNDS, failed, INSUFFICIENT_FUNDS | DUPLICATE, failed, failed | DUPLICATE, failed
    ]  # fmt: skip


def test_a_repeat_inside_a_chain_answers_what_the_first_one_did_though_a_leap_has_pushed_that_out(
    feeder: Feeder,
) -> None:
    leap = linked(count(3 * WINDOW))
    assert feeder.apply(linked(count(5)), linked(count(5)), leap, count(1, client=2)) == [OK, OK | DUPLICATE, OK, OK]
    assert counted(feeder.state) == 3
    late = [linked(count(3 * WINDOW + 64)), linked(count(3 * WINDOW + 64)), linked(count(5 * WINDOW))]
    assert feeder.apply(*late, transfer(1, 2, 1, client=2, sequence=2)) == [
        LINKED_FAILED,
        LINKED_FAILED | DUPLICATE,
        LINKED_FAILED,
        ACCOUNT_NOT_FOUND,
    ]
    failing = replace(transfer(1, 2, 1, sequence=5 * WINDOW + 64), flags=LINKED)
    assert feeder.apply(failing, failing, count(7 * WINDOW)) == [
        ACCOUNT_NOT_FOUND,
        ACCOUNT_NOT_FOUND | DUPLICATE,
        LINKED_FAILED,
    ]


def test_another_transaction_under_a_key_of_its_own_chain_fails_the_chain(feeder: Feeder) -> None:
    chain = [linked(count(1, 7)), linked(count(1, 8)), replace(count(1, 7), amount=2)]
    assert feeder.apply(*chain) == [LINKED_FAILED, LINKED_FAILED, SEQUENCE_REUSED]
    assert feeder.state.entries == 0
    assert feeder.apply(*chain) == [LINKED_FAILED | DUPLICATE, LINKED_FAILED | DUPLICATE, SEQUENCE_REUSED]


def test_a_chain_with_a_key_that_was_used_before_changes_nothing(feeder: Feeder) -> None:
    assert feeder.apply(count(1), linked(count(2)), count(3)) == [OK, OK, OK]
    assert feeder.apply(linked(count(4)), linked(count(2)), linked(count(1)), count(5)) == [
        LINKED_FAILED,
        OK | DUPLICATE,
        OK | DUPLICATE,  # which was no part of a chain; that is not what makes a transaction another one
        LINKED_FAILED,
    ]
    assert counted(feeder.state) == 3
    assert feeder.apply(linked(count(4)), count(5)) == [LINKED_FAILED | DUPLICATE] * 2


def test_a_chain_sent_again_answers_as_it_did(feeder: Feeder) -> None:
    feeder.apply(opened(1, OVERDRAFT), opened(2))
    chain = feeder.numbered([transfer(1, 2, 5, LINKED), transfer(2, 1, 6)])
    assert feeder.apply(*chain) == [LINKED_FAILED, INSUFFICIENT_FUNDS]
    assert feeder.apply(*chain) == [LINKED_FAILED | DUPLICATE, INSUFFICIENT_FUNDS | DUPLICATE]


def test_a_result_pushed_out_of_the_window_by_its_own_chain_marks_no_other_sequence(feeder: Feeder) -> None:
    ends = Tx(ADD, key=b"counter", amount=1, sequence=WINDOW + 2)
    assert feeder.apply(Tx(ADD, key=b"counter", amount=1, sequence=1, flags=LINKED), ends) == [OK, OK]
    assert feeder.apply(count(WINDOW + 1)) == [OK]
