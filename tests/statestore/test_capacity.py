"""What admission reserves for records is enough, and what it is told is free is exactly that."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.contract import opcode, record
from penstock.contract.limits import PAYLOAD_BYTES_MAX
from penstock.contract.result_code import OK
from statestore.capacity import BUCKET_BYTES, GROWTH_PER_PAYLOAD_BYTE, growth_bytes_max, reserve_bytes
from statestore.errors import StateFull
from statestore.kernel import layout
from statestore.state_machine import StateMachine
from tests.statestore.blocks import Feeder, Tx, add, bounds, pack, put
from tests.statestore.test_against_model import TXS, closed


def accounts(first: int, count: int) -> np.ndarray:
    records = np.zeros(count, dtype=record.RECORD)
    records["client_id"], records["operation"] = 1, opcode.OPEN_ACCOUNT
    records["sequence"] = records["key_lo"] = np.arange(first, first + count)
    return records.view(np.uint8)


SIZES = st.one_of(st.integers(0, 300), st.sampled_from([2**n + d for n in range(5, 17) for d in (-1, 0, 1, 2)]))
PUTS = st.builds(put, st.binary(min_size=1, max_size=1024), SIZES.map(bytes))


@settings(max_examples=60, deadline=None)
@given(blocks=st.lists(st.lists(TXS | PUTS, min_size=1, max_size=60).map(closed), max_size=5))
def test_no_block_grows_the_arena_by_more_than_the_bound(blocks: list[list[Tx]]) -> None:
    with StateMachine(bytes_max=64 << 20, session_bounds=bounds(8)) as state:
        feeder = Feeder(state)
        for block in blocks:
            numbered = feeder.numbered(block)
            _, payload_bytes = pack(numbered)
            before = state.table_bytes
            feeder.apply(*numbered)
            assert state.table_bytes - before <= growth_bytes_max(len(block), payload_bytes)
            assert state.free_bytes + state.table_bytes + state.session_bounds.bytes_max == state.bytes_max


@pytest.mark.parametrize("block", [1, 500, 10_000])
def test_the_bound_holds_while_all_buckets_fill_up_at_once(block: int) -> None:
    with StateMachine(bytes_max=64 << 20, session_bounds=bounds(8)) as state:
        feeder = Feeder(state)
        first = 1
        while first < 300_000:
            # One by one only around a moment when the 128 buckets of 131,072 entries are about to be split.
            count = 10_000 if block == 1 and not 110_001 <= first < 111_000 else block
            before = state.table_bytes
            assert set(feeder.apply_body(accounts(first, count), count)) == {OK}
            assert state.table_bytes - before <= growth_bytes_max(count, 0)
            first += count


@pytest.mark.parametrize("hash_mask", [layout.HASH_ALL, 0, 1 << 62, 0xFF << 55])
def test_an_insert_takes_one_bucket_at_most(hash_mask: int) -> None:
    with StateMachine(bytes_max=16 << 20, session_bounds=bounds(8)) as state:
        state.collide_hashes(hash_mask)
        feeder = Feeder(state)
        used = state.table_bytes
        for number in range(2500):
            feeder.apply(add(b"%d" % number, 1))
            assert state.table_bytes - used in (0, BUCKET_BYTES)
            used = state.table_bytes


@settings(max_examples=200, deadline=None)
@given(key_bytes=st.integers(17, 1024), value_bytes=st.integers(1, PAYLOAD_BYTES_MAX - 1024))
def test_a_long_key_and_its_value_take_what_the_bound_says(key_bytes: int, value_bytes: int) -> None:
    with StateMachine(bytes_max=4 << 20, session_bounds=bounds(8)) as state:
        before = state.table_bytes
        Feeder(state).apply(put(bytes(key_bytes), bytes(value_bytes)))
        grown = state.table_bytes - before
        assert key_bytes + value_bytes <= grown <= (key_bytes + value_bytes) * GROWTH_PER_PAYLOAD_BYTE + 80


def test_a_log_that_was_admitted_under_one_seed_fits_under_any_other() -> None:
    bytes_max = 8 << 20
    blocks = 0
    with StateMachine(bytes_max=bytes_max, session_bounds=bounds(8)) as state:
        feeder = Feeder(state)
        while state.free_bytes > 0:
            assert set(feeder.apply_body(accounts(1 + 1000 * blocks, 1000), 1000)) == {OK}
            blocks += 1
    used = set()
    for seed in range(20):
        with StateMachine(bytes_max=bytes_max, session_bounds=bounds(8), hash_seed=seed) as state:
            feeder = Feeder(state)
            for block in range(blocks):
                feeder.apply_body(accounts(1 + 1000 * block, 1000), 1000)
            used.add(state.table_bytes)
    assert len(used) > 1, "seeds do differ in what they take"
    assert max(used) < bytes_max + reserve_bytes(bytes_max) // 2


def test_the_arena_goes_on_for_its_reserve_and_no_further() -> None:
    bytes_max = 4 << 20
    with StateMachine(bytes_max=bytes_max, session_bounds=bounds(8)) as state:
        feeder = Feeder(state)
        values = [put(b"%d" % number, bytes(1000)) for number in range(10_000)]
        with pytest.raises(StateFull):
            feeder.apply(*values)
        assert state.free_bytes == 0
        end = bytes_max + reserve_bytes(bytes_max)
        assert end - BUCKET_BYTES - layout.PAGE_BYTES < state.table_bytes <= end + layout.PAGE_BYTES
