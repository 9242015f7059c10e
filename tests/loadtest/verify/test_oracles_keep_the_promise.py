"""Both recomputations keep what clients are promised: each key takes effect once, and is answered the same ever after.

Every case is worked out by hand from the promise; random hostile histories then have both agree.
"""

from collections.abc import Callable

import pytest
from hypothesis import given, settings

from loadtest.verify.compiled_model import CompiledModel
from loadtest.verify.reference_model import COUNTER, ReferenceModel
from loadtest.verify.session_ledger import WINDOW, SessionBounds
from tests.loadtest.verify.session_histories import (
    HORIZON_NS,
    Block,
    Transaction,
    add,
    end_session,
    histories,
    set_bounds,
)
from tests.loadtest.verify.transactions import block, body, record

OK, KEY_NOT_FOUND, LINKED_FAILED, EXPIRED, EXHAUSTED, REUSED, DUPLICATE = 1, 2, 10, 11, 12, 13, 128
DELETE = 3
WIDE = SessionBounds(64, HORIZON_NS, 1 << 14)
STEP_NS = HORIZON_NS // 16


class Oracle:
    """One of the two, and the log that it is given."""

    def __init__(self, model: ReferenceModel | CompiledModel) -> None:
        self.model = model
        self.position = 0
        self.index = 0
        self.time_ns = 1 << 50

    def apply(self, *transactions: Transaction, after_ns: int = 0) -> list[int]:
        """Apply one block; its results."""
        records, payloads = body(*transactions)
        self.time_ns += after_ns
        self.index += 1
        if isinstance(self.model, ReferenceModel):
            results = self.model.apply(records, payloads, self.position, self.time_ns)
        else:
            logged = block(records, payloads, index=self.index, position=self.position, time_ns=self.time_ns)
            results = self.model.apply(logged).tobytes()
        self.position += len(transactions)
        return list(results)

    def counter(self, key: int = 0) -> int:
        """A counter's amount."""
        if isinstance(self.model, ReferenceModel):
            entry = self.model.entries.get((COUNTER, 0, key.to_bytes(8, "little")))
            return entry.amount if entry else 0
        return int(self.model._cells[1, key, 0])


def reference(bounds: SessionBounds = WIDE) -> Oracle:
    return Oracle(ReferenceModel(bounds))


def compiled(bounds: SessionBounds = WIDE) -> Oracle:
    return Oracle(CompiledModel(keys=4, clients=1, bounds=bounds))


Make = Callable[..., Oracle]
both = pytest.mark.parametrize("make", [reference, compiled])


def put(sequence: int, value: bytes, *, client: int = 1) -> Transaction:
    return record(2, sequence, client=client, key=bytes(8), value=value)


@both
def test_a_key_that_comes_twice_in_one_chain_takes_effect_once(make: Make) -> None:
    oracle = make()
    chain = [add(1, client=7, linked=True), add(1, client=8, linked=True), add(1, client=7)]
    assert oracle.apply(*chain) == [OK, OK, OK | DUPLICATE]
    assert oracle.counter() == 2
    assert oracle.apply(*chain) == [OK | DUPLICATE] * 3
    assert oracle.counter() == 2


@both
def test_a_key_that_comes_twice_in_one_frame_takes_effect_once(make: Make) -> None:
    oracle = make()
    assert oracle.apply(add(1), add(1, client=8), add(1), add(1)) == [OK, OK, OK | DUPLICATE, OK | DUPLICATE]
    assert oracle.counter() == 2


@both
def test_another_transaction_under_a_used_key_has_no_effect_and_is_told_so(make: Make) -> None:
    oracle = make()
    missing = record(DELETE, 3, key=b"\3" + bytes(7))
    assert oracle.apply(add(1), put(2, b"a"), missing) == [OK, OK, KEY_NOT_FOUND]
    others = [add(1, amount=2), add(1, key=1), put(2, b"b"), put(2, b""), put(3, b"a"), put(1, b"a")]
    assert oracle.apply(*others) == [REUSED] * 6
    assert oracle.apply(add(1), put(2, b"a")) == [OK | DUPLICATE] * 2
    assert (oracle.counter(), oracle.counter(1)) == (1, 0)


@both
def test_a_failed_chain_with_a_repeat_inside_is_answered_as_its_first(make: Make) -> None:
    oracle = make()
    missing = record(DELETE, 1, client=8, key=bytes(8), flags=1)
    assert oracle.apply(add(1, linked=True), missing, add(1)) == [LINKED_FAILED, KEY_NOT_FOUND, 10 | DUPLICATE]
    assert oracle.counter() == 0
    assert oracle.apply(add(1), add(2)) == [LINKED_FAILED | DUPLICATE, OK]


@both
def test_another_content_under_a_key_of_the_same_chain_fails_the_chain(make: Make) -> None:
    oracle = make()
    chain = [add(1, linked=True), add(2, linked=True), add(1, linked=True, amount=2), add(3)]
    assert oracle.apply(*chain) == [LINKED_FAILED, LINKED_FAILED, REUSED, LINKED_FAILED]
    assert oracle.apply(*chain) == [10 | DUPLICATE, 10 | DUPLICATE, REUSED, 10 | DUPLICATE]
    assert oracle.counter() == 0


@both
def test_a_chain_with_a_used_key_takes_no_effect(make: Make) -> None:
    oracle = make()
    assert oracle.apply(add(5)) == [OK]
    chain = [add(6, linked=True), add(5, linked=True), add(6, linked=True), add(6, amount=3)]
    assert oracle.apply(*chain) == [LINKED_FAILED, OK | DUPLICATE, 10 | DUPLICATE, REUSED]
    assert oracle.apply(add(7, linked=True), add(5, amount=9)) == [LINKED_FAILED, REUSED]
    assert oracle.apply(add(6), add(7)) == [10 | DUPLICATE] * 2
    assert oracle.counter() == 1


@both
def test_sequences_behind_the_window_have_no_effect(make: Make) -> None:
    oracle = make()
    assert oracle.apply(add(1), add(2), add(WINDOW + 1)) == [OK] * 3
    assert oracle.apply(add(1), add(2), add(3), add(1, amount=2)) == [EXPIRED, OK | DUPLICATE, OK, EXPIRED]
    chain = [add(4, linked=True), add(2 * WINDOW, linked=True), add(4)]
    assert oracle.apply(*chain) == [LINKED_FAILED, LINKED_FAILED, EXPIRED]
    assert oracle.counter() == 4


@both
def test_an_ended_session_has_forgotten_its_answers_but_takes_nothing_twice(make: Make) -> None:
    oracle = make()
    assert oracle.apply(add(1), add(9), end_session(9), end_session(4)) == [OK, OK, REUSED, EXPIRED]
    assert oracle.apply(add(1), end_session(12)) == [OK | DUPLICATE, OK]
    assert oracle.apply(add(1), add(9), add(2), end_session(3), end_session(9)) == [EXPIRED] * 5
    assert oracle.apply(end_session(12), add(12)) == [OK | DUPLICATE, REUSED]
    assert oracle.apply(end_session(20), end_session(12), end_session(20)) == [OK, EXPIRED, OK | DUPLICATE]
    assert oracle.apply(add(21), end_session(20), add(20), add(1), add(21)) == [
        OK,
        OK | DUPLICATE,
        REUSED,
        EXPIRED,
        129,
    ]
    assert oracle.apply(add(22, linked=True), add(20)) == [LINKED_FAILED, REUSED]
    assert oracle.counter() == 3
    assert oracle.apply(add(20 + WINDOW), end_session(20), add(19)) == [OK, OK | DUPLICATE, EXPIRED]
    assert oracle.apply(end_session(1, client=2), add(2, client=2)) == [OK, OK]


@both
def test_the_longest_ended_session_makes_room_first_and_idle_ones_after_the_horizon(make: Make) -> None:
    oracle = make(SessionBounds(3, HORIZON_NS, 64))
    assert oracle.apply(add(1), add(1, client=2), add(1, client=3), end_session(2, client=2)) == [OK] * 4
    assert oracle.apply(add(1, client=4)) == [EXHAUSTED]
    for _ in range(4):
        assert oracle.apply(add(1, client=4), after_ns=1 << 40) == [EXHAUSTED], "a jump is a sixteenth of the horizon"
    assert oracle.apply(add(1, client=4), after_ns=1) == [OK]
    assert oracle.apply(add(1, client=5)) == [EXHAUSTED]
    assert oracle.apply(add(1, client=3)) == [OK | DUPLICATE], "looking at it is using it"
    for _ in range(11):
        assert oracle.apply(add(1, client=3), after_ns=STEP_NS) == [OK | DUPLICATE]
    assert oracle.apply(add(1, client=5), after_ns=STEP_NS - 1) == [EXHAUSTED]
    assert oracle.apply(add(1, client=5), after_ns=1) == [OK], "client 1 is forgotten"
    assert oracle.apply(add(1, client=1)) == [EXHAUSTED]


@both
def test_a_clock_that_goes_back_ages_nobody(make: Make) -> None:
    oracle = make(SessionBounds(1, HORIZON_NS, 64))
    assert oracle.apply(add(1)) == [OK]
    for _ in range(40):
        assert oracle.apply(add(1, client=2), after_ns=-(1 << 40)) == [EXHAUSTED]


@both
def test_pages_run_out_for_newcomers_before_known_clients(make: Make) -> None:
    oracle = make(SessionBounds(100, HORIZON_NS, 32))
    assert oracle.apply(*(add(32 * page) for page in range(1, 31))) == [OK] * 30
    assert oracle.apply(add(1, client=2)) == [OK]
    assert oracle.apply(add(1, client=3)) == [EXHAUSTED]
    assert oracle.apply(add(32, client=2), add(64, client=2), add(2, client=2)) == [OK, EXHAUSTED, OK]
    assert oracle.apply(add(5)) == [EXHAUSTED]
    assert oracle.apply(add(WINDOW + 95)) == [OK], "two of its own pages have expired"
    assert oracle.apply(add(64, client=2), add(64, client=2), add(96, client=2)) == [OK, OK | DUPLICATE, EXHAUSTED]
    assert oracle.apply(end_session(WINDOW + 96), add(1, client=3)) == [OK, OK]


@both
def test_bounds_change_from_the_next_record_on(make: Make) -> None:
    oracle = make(SessionBounds(2, HORIZON_NS, 64))
    wider, narrower = SessionBounds(4, HORIZON_NS, 64), SessionBounds(1, HORIZON_NS, 64)
    assert oracle.apply(add(1), set_bounds(wider), add(1, client=2), add(1, client=3)) == [OK] * 4
    assert oracle.apply(set_bounds(narrower), add(1, client=4), add(2)) == [OK, EXHAUSTED, OK]
    assert oracle.apply(set_bounds(wider), add(1, client=4), set_bounds(wider)) == [OK] * 3


@settings(max_examples=400, deadline=None)
@given(histories())
def test_both_agree_on_any_history(history: tuple[SessionBounds, list[Block]]) -> None:
    bounds, blocks = history
    plain, fast = reference(bounds), compiled(bounds)
    for made in blocks:
        elapsed = made.time_ns - plain.time_ns
        assert plain.apply(*made.transactions, after_ns=elapsed) == fast.apply(*made.transactions, after_ns=elapsed)
        assert plain.model.effects_digest == fast.model.effects_digest
        assert plain.model.state_digest() == fast.model.state_digest()


@both
def test_pages_near_the_highest_number_expire_no_sooner_than_others(make: Make) -> None:
    last = 2**64 - 1
    oracle = make(SessionBounds(64, HORIZON_NS, 2))
    assert oracle.apply(add(last - 100), add(last - 40), add(last)) == [OK, OK, EXHAUSTED]
