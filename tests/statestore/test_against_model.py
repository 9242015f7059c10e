"""Whatever transactions come, the compiled state machine does what the dict model does."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.contract import opcode, result_code
from statestore.kernel import layout
from statestore.state_machine import StateMachine
from tests.statestore import dict_model
from tests.statestore.blocks import Feeder, Tx, account, bounds
from tests.statestore.dict_model import ADD, CAS, DELETE, FLOOR, LINKED, OPEN_ACCOUNT, OVERDRAFT, PUT, TRANSFER, Model

KEYS = st.sampled_from([b"a", b"a\0", b"b" * 16, b"b" * 17, b"c" * 1000, b"c" * 999 + b"d"])
ACCOUNTS = st.integers(1, 5).map(account)
AMOUNTS = st.sampled_from([1, 2, 100, 2**62, 2**63 - 1])
NAMESPACES = st.sampled_from([0, 0, 0, 65_535])
COMMON = {
    "namespace": NAMESPACES,
    "client": st.sampled_from([1, 1, 2**64 - 1]),
    "sequence": st.sampled_from([0, 0, 0, 0, 1, 2, 3, 9, 200_000, 400_000]),
}
CHAINED = st.sampled_from([0, 0, 0, LINKED])
VALUES = st.binary(max_size=100)
TXS = st.one_of(
    st.builds(Tx, st.just(opcode.APPEND), value=VALUES, flags=CHAINED, **COMMON),
    st.builds(Tx, st.just(PUT), key=KEYS, value=VALUES, flags=CHAINED, **COMMON),
    st.builds(Tx, st.just(DELETE), key=KEYS, flags=CHAINED, **COMMON),
    st.builds(Tx, st.just(CAS), key=KEYS, value=VALUES, operand=st.integers(0, 30), flags=CHAINED, **COMMON),
    st.builds(
        Tx, st.just(ADD), key=KEYS, amount=st.one_of(AMOUNTS, AMOUNTS.map(lambda a: -a)), flags=CHAINED, **COMMON
    ),
    st.builds(
        Tx,
        st.just(ADD),
        key=KEYS,
        amount=st.integers(-5, 5),
        operand=st.integers(-3, 3),
        flags=CHAINED.map(lambda flags: flags | FLOOR),
        **COMMON,
    ),
    st.builds(
        Tx,
        st.just(OPEN_ACCOUNT),
        key=ACCOUNTS,
        flags=st.tuples(CHAINED, st.sampled_from([0, OVERDRAFT])).map(sum),
        **COMMON,
    ),
    st.builds(Tx, st.just(TRANSFER), key=ACCOUNTS, credit=ACCOUNTS, amount=AMOUNTS, flags=CHAINED, **COMMON),
    st.builds(Tx, st.just(TRANSFER), key=ACCOUNTS, credit=ACCOUNTS, amount=AMOUNTS, flags=CHAINED, **COMMON),
)


def closed(block: list[Tx]) -> list[Tx]:
    """The block with its last chain closed, as admission guarantees."""
    last = block[-1]
    return [*block[:-1], Tx(**{**last.__dict__, "flags": last.flags & ~LINKED})]


def check_same(state: StateMachine, model: Model) -> None:
    assert state.effects_digest == model.effects_digest
    assert state.state_digest() == model.state_digest()
    assert state.entries == len(model.entries)
    assert state.applied_position == model.position
    keys = [(kind, namespace, key) for kind, namespace, key in model.entries]
    read = state.read(
        np.array([key[0] for key in keys], dtype=np.uint8),
        np.array([key[1] for key in keys], dtype=np.uint16),
        np.array([len(key[2]) for key in keys], dtype=np.uint16),
        np.frombuffer(b"".join(key[2] for key in keys), dtype=np.uint8),
    )
    assert read.found.all()
    for number, entry in enumerate(model.entries.values()):
        assert read.value(number) == entry.value
        assert read.amounts[number] == entry.amount
        assert read.versions[number] == entry.version
        assert read.overdrafts[number] == entry.overdraft


@settings(max_examples=150, deadline=None)
@given(
    blocks=st.lists(st.lists(TXS, min_size=1, max_size=40).map(closed), max_size=6),
    hash_mask=st.sampled_from([0, layout.HASH_ALL]),
)
def test_any_transactions_give_the_models_results_digests_and_entries(blocks: list[list[Tx]], hash_mask: int) -> None:
    model = Model()
    with StateMachine(bytes_max=64 << 20, session_bounds=bounds(8)) as state:
        state.collide_hashes(hash_mask)
        feeder = Feeder(state)
        for block in blocks:
            numbered = feeder.numbered(block)
            assert feeder.apply(*numbered) == model.apply(numbered)
        check_same(state, model)


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**32), hash_mask=st.sampled_from([0, 3 << 60, 0xFF << 56, layout.HASH_ALL]))
def test_growth_and_deletion_of_many_keys_keep_every_entry(seed: int, hash_mask: int) -> None:
    rng = np.random.default_rng(seed)
    model = Model()
    with StateMachine(bytes_max=64 << 20, session_bounds=bounds(8)) as state:
        state.collide_hashes(hash_mask)
        feeder = Feeder(state)
        for _ in range(2):
            keys = [b"%d" % number for number in rng.integers(0, 3000, 4000)]
            block = [Tx(PUT, key=key, value=key) if rng.random() < 0.6 else Tx(DELETE, key=key) for key in keys]
            numbered = feeder.numbered(block)
            assert feeder.apply(*numbered) == model.apply(numbered)
        check_same(state, model)


def test_the_model_and_the_contract_number_results_alike() -> None:
    names: tuple[str, ...] = (
        "OK",
        "KEY_NOT_FOUND",
        "VERSION_MISMATCH",
        "OVERFLOW",
        "BELOW_FLOOR",
        "INSUFFICIENT_FUNDS",
        "ACCOUNT_NOT_FOUND",
    )
    names += ("SAME_ACCOUNT", "ACCOUNT_EXISTS", "LINKED_FAILED", "SEQUENCE_EXPIRED", "SESSIONS_EXHAUSTED")
    names += ("SEQUENCE_REUSED", "DUPLICATE")
    assert [getattr(dict_model, name) for name in names] == [getattr(result_code, name) for name in names]
