"""LINKED chains: all of their records take effect, or none does."""

import pytest

from penstock.contract.flag import LINKED, OVERDRAFT
from penstock.contract.result_code import INSUFFICIENT_FUNDS, KEY_NOT_FOUND, LINKED_FAILED, OK, VERSION_MISMATCH
from statestore.errors import RecordInvalid
from tests.statestore.blocks import Feeder, add, cas, delete, opened, put, transfer

LONG = b"long key " * 20


def test_a_failed_chain_leaves_the_entries_as_they_were(feeder: Feeder) -> None:
    feeder.apply(opened(1, OVERDRAFT), opened(2), put(b"a", b"1"), put(LONG, b"2" * 500), add(b"n", 7))
    entries = feeder.state.entries
    digest_of_entries = feeder.state.state_digest()
    chain = [
        put(b"a", b"other", LINKED),
        delete(b"a", LINKED),
        put(b"a", b"third", LINKED),
        delete(LONG, LINKED),
        put(LONG, b"again", LINKED),
        put(LONG, b"and again", LINKED),
        put(LONG + b"new", b"new", LINKED),
        add(b"n", -3, LINKED),
        add(b"fresh", 1, LINKED),
        opened(3, LINKED),
        transfer(1, 3, 9, LINKED),
        transfer(3, 2, 10),
    ]
    assert feeder.apply(*chain) == [LINKED_FAILED] * 11 + [INSUFFICIENT_FUNDS]
    assert feeder.state.entries == entries
    # Only the session's highest sequence has moved on: moving it in a second state machine the same way gives the same.
    assert feeder.state.state_digest() != digest_of_entries
    used = feeder.state.table_bytes
    for _ in range(50):
        feeder.apply(*chain)
    assert feeder.state.table_bytes == used, "a chain that is undone gives all its storage back"


def test_the_record_that_fails_first_keeps_its_code_and_nothing_after_it_is_tried(feeder: Feeder) -> None:
    results = feeder.apply(put(b"a", b"", LINKED), delete(b"b", LINKED), cas(b"a", b"", 99, LINKED), add(b"n", 1))
    assert results == [LINKED_FAILED, KEY_NOT_FOUND, LINKED_FAILED, LINKED_FAILED]


def test_later_records_of_a_chain_see_what_earlier_ones_did(feeder: Feeder) -> None:
    assert feeder.apply(put(b"a", b"x", LINKED), cas(b"a", b"y", 1, LINKED), cas(b"a", b"z", 1)) == [
        LINKED_FAILED,
        LINKED_FAILED,
        VERSION_MISMATCH,
    ]
    assert feeder.apply(put(b"a", b"x", LINKED), cas(b"a", b"y", 4)) == [OK, OK]


def test_transactions_around_a_chain_are_not_part_of_it(feeder: Feeder) -> None:
    results = feeder.apply(add(b"n", 1), add(b"n", 1, LINKED), delete(b"none"), add(b"n", 1))
    assert results == [OK, LINKED_FAILED, KEY_NOT_FOUND, OK]


def test_a_chain_as_long_as_a_block_is_undone_across_the_growth_it_caused(feeder: Feeder) -> None:
    chain = [put(b"key %d" % number, b"v", LINKED) for number in range(9_999)]
    assert feeder.apply(*chain, delete(b"none")) == [LINKED_FAILED] * 9_999 + [KEY_NOT_FOUND]
    assert feeder.state.entries == 0
    assert feeder.apply(*chain, put(b"last", b"")) == [OK] * 10_000
    assert feeder.state.entries == 10_000


def test_a_chain_left_open_at_the_end_of_a_block_is_refused(feeder: Feeder) -> None:
    with pytest.raises(RecordInvalid, match="chain left open"):
        feeder.apply(put(b"a", b"", LINKED))
