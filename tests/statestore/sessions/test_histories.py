"""Histories of sessions, drawn at random, are what the models say."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.contract.flag import LINKED
from penstock.contract.opcode import ADD
from statestore.state_machine import StateMachine
from tests.statestore.blocks import Feeder, Tx, bounds, end, set_bounds
from tests.statestore.dict_model import Model
from tests.statestore.session_model import Sessions
from tests.statestore.sessions.counting import LAST, PAGE, PAGE_BYTES, SESSION_BYTES, WINDOW, count

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
