"""Whoever chooses keys cannot choose where they lie; and where hashes collide all the same, only time is lost."""

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.contract.flag import LINKED
from penstock.contract.result_code import KEY_NOT_FOUND, LINKED_FAILED, OK
from statestore.kernel import layout
from statestore.state_machine import StateMachine
from tests.statestore.blocks import Feeder, Tx, bounds, delete, opened, put
from tests.statestore.dict_model import DIGEST_MULTIPLIER, Model, bytes_digest, rotl
from tests.statestore.test_against_model import check_same
from tests.statestore.test_state_machine import mixed_log
from txqueue.jit.native_types import U64

MASK = 2**64 - 1
BUCKET_BYTES = 8 * int(layout.BUCKET_WORDS)


def machine(hash_mask: int = layout.HASH_ALL, hash_seed: int | None = None) -> StateMachine:
    state = StateMachine(bytes_max=16 << 20, session_bounds=bounds(8), hash_seed=hash_seed)
    state.collide_hashes(hash_mask)
    return state


def long_keys_of_one_digest(count: int) -> list[bytes]:
    """Different keys of 24 bytes with equal `bytes_digest`: its steps can be run backwards."""
    keys = []
    for first in range(count):
        state = rotl(((24 ^ first) * DIGEST_MULTIPLIER) & MASK, 29)
        keys.append(b"".join(word.to_bytes(8, "little") for word in (first, state, 0)))
    return keys


def chained_buckets(state: StateMachine) -> int:
    first = state._arena_start
    buckets = range(first, int(state._words[layout.BUCKETS_END]), int(layout.BUCKET_WORDS))
    return sum(int(state._words[bucket + int(layout.BUCKET_NEXT)]) != 0 for bucket in buckets)


@pytest.mark.parametrize("hash_mask", [0, 1, 3 << 62, 1 << 55])
def test_more_keys_of_one_hash_than_a_bucket_holds_are_all_kept_and_found(hash_mask: int) -> None:
    with machine(hash_mask) as state:
        feeder = Feeder(state)
        numbers = range(1, 3001)
        assert feeder.apply(*map(opened, numbers)) == [OK] * 3000
        read = state.read(
            np.full(3000, 3, np.uint8),
            np.zeros(3000, np.uint16),
            np.full(3000, 16, np.uint16),
            np.array([[number, 0] for number in numbers], np.uint64).reshape(-1).view(np.uint8),
        )
        assert read.found.all()
        assert state.entries == 3000
        assert state.table_bytes <= 6 * BUCKET_BYTES, "room for collisions is not wasted"


def test_a_directory_that_can_grow_no_more_costs_no_entry() -> None:
    with machine() as state:
        state._words[layout.DIRECTORY_DEPTH_MAX] = 1
        feeder = Feeder(state)
        assert feeder.apply(*map(opened, range(1, 5001))) == [OK] * 5000
        assert feeder.apply(*map(opened, range(5000, 0, -1))) == [9] * 5000
        assert chained_buckets(state) >= 2


def test_long_keys_of_equal_digest_are_spread_over_segments() -> None:
    keys = long_keys_of_one_digest(1100)
    assert len({bytes_digest(key) for key in keys}) == 1
    with machine() as state:
        feeder = Feeder(state)
        assert feeder.apply(*(put(key, key[:8]) for key in keys)) == [OK] * 1100
        assert chained_buckets(state) == 0
        assert feeder.apply(*(delete(key) for key in keys)) == [OK] * 1100
        assert state.entries == 0


def test_a_failed_chain_is_undone_across_the_buckets_that_collisions_took() -> None:
    with machine(hash_mask=0) as state:
        feeder = Feeder(state)
        feeder.apply(*(put(b"old %d" % number, b"v") for number in range(1500)))
        entries = state.entries
        chain = [delete(b"old %d" % number, LINKED) for number in range(0, 1500, 3)]
        chain += [put(b"new %d" % number, b"v", LINKED) for number in range(1500)]
        assert feeder.apply(*chain, delete(b"none")) == [LINKED_FAILED] * 2000 + [KEY_NOT_FOUND]
        assert state.entries == entries
        assert feeder.apply(*(delete(b"old %d" % number) for number in range(1500))) == [OK] * 1500
        assert state.entries == 0


def used_bytes(state: StateMachine) -> bytes:
    """The region but for room of sessions that was never used: a copy of it would take all its address space."""
    words = state._words

    def part(start: U64, length: int) -> bytes:
        return words[int(words[start]) :][:length].tobytes()

    rows = (int(layout.SESSION_HEADS) + int(words[layout.SESSION_ROWS_USED])) * int(layout.SESSION_WORDS)
    return (
        words[: int(layout.HEADER_WORDS)].tobytes()
        + part(layout.SESSIONS, rows)
        + part(layout.SESSION_INDEX, 2 * (int(words[layout.SESSION_INDEX_MASK]) + 1))
        + part(layout.PAGE_INDEX, 2 * (int(words[layout.PAGE_INDEX_MASK]) + 1))
        + part(layout.PAGES, int(words[layout.PAGES_USED]) * int(layout.PAGE_WORDS))
        + words[int(words[layout.DIRECTORY]) :].tobytes()
    )


@settings(max_examples=20, deadline=None)
@given(seeds=st.lists(st.integers(0, 2**128 - 1), min_size=2, max_size=2, unique=True))
def test_no_result_and_no_digest_depends_on_the_seed_of_the_hashes(seeds: list[int]) -> None:
    outcomes, layouts = [], []
    log = mixed_log()[:2000]
    for seed in (*seeds, None):
        with machine(hash_seed=seed) as state:
            results = Feeder(state).apply(*log)
            outcomes.append((results, state.effects_digest, state.state_digest(), state.entries))
            layouts.append(used_bytes(state))
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert len(set(layouts)) == 3


def test_each_state_machine_draws_a_seed_of_its_own() -> None:
    hashes = set()
    for _ in range(3):
        with machine() as state:
            Feeder(state).apply(opened(1))
            entry = state._arena_start + int(layout.ENTRY_WORDS)
            hashes.add(int(state._words[entry + int(layout.ENTRY_HASH)]))
    assert len(hashes) == 3


def test_the_seed_of_the_hashes_comes_from_the_randomness_that_was_given() -> None:
    layouts = []
    for number in (3, 3, 4):
        with StateMachine(bytes_max=16 << 20, session_bounds=bounds(8), randomness=Random(number)) as state:
            Feeder(state).apply(opened(1))
            layouts.append(used_bytes(state))
    assert layouts[0] == layouts[1] != layouts[2]


@pytest.mark.parametrize("step", [1, 1 << 16, 1 << 32, 1 << 56])
@pytest.mark.parametrize("field", ["key", "namespace"])
def test_regular_keys_are_spread_as_evenly_as_chance_would(step: int, field: str) -> None:
    count = 60_000
    if field == "key":
        txs = [opened(number * step % 2**128) for number in range(1, count + 1)]
    else:
        txs = [opened(1 + number // 65_536 * step, namespace=number % 65_536) for number in range(count)]
    with machine() as state:
        feeder = Feeder(state)
        for start in range(0, count, 10_000):
            assert set(feeder.apply(*txs[start : start + 10_000])) == {OK}
        words = state._words[state._arena_start : int(state._words[layout.BUCKETS_END])]
        entries = words.reshape(-1, int(layout.BUCKET_WORDS))[:, : int(layout.BUCKET_INDEX)].reshape(-1, 8)
        hashes = entries[entries[:, int(layout.ENTRY_IDENTITY)] != 0, int(layout.ENTRY_HASH)]
    assert np.unique(hashes).size == count
    for bits in (hashes >> np.uint64(58), hashes & np.uint64(127), (hashes >> np.uint64(7)) & np.uint64(1023)):
        cells = np.bincount(bits.astype(np.int64))
        # The seed is drawn: 8 standard deviations are never seen, where one product per word exceeds them often.
        chi_squared = float(((cells - count / cells.size) ** 2).sum() / (count / cells.size))
        assert abs(chi_squared - cells.size) < 8 * np.sqrt(2 * cells.size)


def test_clients_whose_hashes_collide_have_sessions_of_their_own() -> None:
    with machine(hash_mask=0) as state:
        feeder, model = Feeder(state), Model()
        txs = feeder.numbered([Tx(5, key=b"n", amount=1, client=client) for client in [*range(1, 9), *range(8, 0, -1)]])
        assert feeder.apply(*txs) == model.apply(txs) == [OK] * 16
        check_same(state, model)
