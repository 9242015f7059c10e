"""Sessions: a transaction that is sent again takes effect once and answers its first result."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.contract.flag import LINKED, OVERDRAFT
from penstock.contract.opcode import ADD, APPEND, CAS, PUT
from penstock.contract.record import RECORD
from penstock.contract.result_code import (
    ACCOUNT_NOT_FOUND,
    DUPLICATE,
    INSUFFICIENT_FUNDS,
    LINKED_FAILED,
    OK,
    SEQUENCE_EXPIRED,
    SEQUENCE_REUSED,
    SESSIONS_EXHAUSTED,
)
from statestore.errors import RecordInvalid, StateFull
from statestore.session_bounds import SessionBounds
from statestore.state_machine import StateMachine
from tests.statestore.blocks import Feeder, Tx, add, bounds, end, opened, set_bounds, transfer
from tests.statestore.dict_model import Model
from tests.statestore.session_model import Sessions

WINDOW = 131_072
PAGE = 32
PAGE_BYTES, SESSION_BYTES = 352, 96
LAST = 2**64 - 1
HOUR_NS = 3_600_000_000_000


def count(sequence: int, client: int = 1) -> Tx:
    return Tx(ADD, key=b"counter", amount=1, client=client, sequence=sequence)


def linked(tx: Tx) -> Tx:
    return replace(tx, flags=LINKED)


def pass_horizons(feeder: Feeder, horizons: float) -> None:
    """Let the session time pass in steps that no clock's jump takes: with blocks of a client of their own."""
    horizon_ns = feeder.state.session_bounds.horizon_ns
    for _ in range(int(16 * horizons)):
        feeder.time_ns += horizon_ns // 16
        feeder.apply_body(np.zeros(0, np.uint8), 0)


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


def test_a_refused_client_leaves_no_trace_in_the_state() -> None:
    with StateMachine(bytes_max=16 << 20, session_bounds=bounds(1)) as state:
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
    with StateMachine(bytes_max=16 << 20, session_bounds=bounds(1)) as state:
        model = Model()
        for start in range(0, len(txs), 20):
            block = txs[start : start + 20]
            block[-1] = Tx(**{**block[-1].__dict__, "flags": 0})
            assert Feeder(state).apply(*block) == model.apply(block)
        assert state.state_digest() == model.state_digest()


LINKS = st.sampled_from([0, 0, LINKED])
HISTORIES = st.lists(
    st.lists(
        st.one_of(
            st.builds(
                count,
                st.sampled_from([1, 2, 3, 31, 32, 33, 64, 96, 97, WINDOW, WINDOW + 33, WINDOW + 70, 3 * WINDOW]),
                st.integers(1, 6),
            ).flatmap(lambda tx: st.builds(replace, st.just(tx), amount=st.sampled_from([1, 1, 1, 2]), flags=LINKS)),
            st.builds(end, st.integers(1, 6), st.sampled_from([1, 3, 40, 98, WINDOW + 80])),
            st.builds(
                set_bounds,
                st.integers(1, 4),
                st.sampled_from([16, 160, 1600]),
                st.integers(1, 20),
            ),
        ),
        min_size=1,
        max_size=25,
    ),
    min_size=1,
    max_size=12,
)


def in_chains_that_may_be(block: list[Tx]) -> list[Tx]:
    """A block with no chain that is left open, or that holds what stands alone."""
    alone = [tx.operation > ADD for tx in block]
    last = [*alone[1:], True]
    return [replace(tx, flags=0) if one or end else tx for tx, one, end in zip(block, alone, last, strict=True)]


@settings(max_examples=400, deadline=None)
@given(history=HISTORIES, steps_ns=st.lists(st.sampled_from([0, 1, 10, 100, 10**18, -5]), min_size=12, max_size=12))
def test_any_history_of_sessions_is_the_models(history: list[list[Tx]], steps_ns: list[int]) -> None:
    with StateMachine(bytes_max=16 << 20, session_bounds=bounds(3, 160)) as state:
        feeder = Feeder(state)
        begun = state.session_bounds
        model = Model(sessions=Sessions(begun.capacity, begun.horizon_ns, begun.page_capacity))
        for block, step_ns in zip(map(in_chains_that_may_be, history), steps_ns, strict=False):
            feeder.time_ns += step_ns
            assert feeder.apply(*block) == model.apply(block, feeder.time_ns)
            assert state.state_digest() == model.state_digest()
            assert state.effects_digest == model.effects_digest
            held = sum(len(session.pages) for session in model.sessions.live.values())
            assert state.session_bytes == state.sessions * SESSION_BYTES + held * PAGE_BYTES
