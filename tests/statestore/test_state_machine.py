"""The state machine as its callers use it: blocks in order, results, reads, limits, errors."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from penstock.contract import opcode, record, result_code
from penstock.contract.flag import LINKED, OVERDRAFT
from penstock.contract.limits import KEY_BYTES_MAX, PAYLOAD_BYTES_MAX
from penstock.contract.result_code import OK
from statestore.errors import AnswerTooLarge, BlockOutOfOrder, RecordInvalid, StateFull
from statestore.kernel import layout
from statestore.state_machine import StateMachine
from tests.statestore.blocks import START_NS, Feeder, Tx, add, bounds, delete, opened, pack, put, transfer


def transfers(accounts: int, count: int, seed: int) -> np.ndarray:
    """A block's body of random transfers among accounts 1 to `accounts`, with sequences from 1 of client 2."""
    rng = np.random.default_rng(seed)
    records = np.zeros(count, dtype=record.RECORD)
    records["client_id"], records["sequence"] = 2, np.arange(1, count + 1)
    records["key_lo"], records["operand_lo"] = rng.integers(1, accounts + 1, (2, count))
    records["operation"], records["amount"] = opcode.TRANSFER, rng.integers(1, 100, count)
    return records.view(np.uint8)


def mixed_log() -> list[Tx]:
    rng = np.random.default_rng(7)
    log = [opened(number, OVERDRAFT) for number in range(1, 51)]
    for _ in range(1500):
        debit, credit = (int(number) for number in rng.integers(1, 60, 2))
        key = b"k%d" % rng.integers(0, 300)
        log += [transfer(debit, credit, 5), put(key * int(rng.integers(1, 9)), key), delete(key), add(key, 2)]
    return log


def cut(log: list[Tx], sizes: list[int]) -> StateMachine:
    state = StateMachine(bytes_max=16 << 20, session_bounds=bounds(8), hash_seed=5)
    feeder = Feeder(state)
    at = number = 0
    while at < len(log):
        size = sizes[number % len(sizes)]
        feeder.apply(*log[at : at + size])
        at, number = at + size, number + 1
    return state


def used_parts(state: StateMachine) -> list[NDArray[np.uint64]]:
    """The region without the gigabytes in it that nothing was written to."""
    words = state._words
    ends = [
        (0, int(words[layout.SESSION_INDEX])),
        (int(words[layout.SESSION_INDEX]), 2 * (int(words[layout.SESSION_INDEX_MASK]) + 1)),
        (int(words[layout.PAGE_INDEX]), 2 * (int(words[layout.PAGE_INDEX_MASK]) + 1)),
        (int(words[layout.PAGES]), int(words[layout.PAGES_USED]) * int(layout.PAGE_WORDS)),
        (int(words[layout.DIRECTORY]), words.size - int(words[layout.DIRECTORY])),
    ]
    return [words[first : first + size] for first, size in ends]


def test_the_same_log_gives_the_same_bytes_however_it_is_cut_into_blocks() -> None:
    states = [cut(mixed_log(), sizes) for sizes in ([10_000], [1], [33, 64, 7, 1000])]
    for state in states:
        state._words[layout.APPLIED_INDEX] = 0
        assert state.effects_digest == states[0].effects_digest
        assert state.state_digest() == states[0].state_digest()
        assert [part.size for part in used_parts(state)] == [part.size for part in used_parts(states[0])]
        assert all(map(np.array_equal, used_parts(state), used_parts(states[0])))
    for state in states:
        state.close()


def test_money_is_conserved_over_random_transfers(feeder: Feeder) -> None:
    feeder.apply(*(opened(number, OVERDRAFT) for number in range(1, 101)))
    results = feeder.apply_body(transfers(100, 10_000, seed=3), 10_000)
    assert set(results) == {OK, result_code.SAME_ACCOUNT}
    read = feeder.state.read(
        np.full(100, 3, np.uint8),
        np.zeros(100, np.uint16),
        np.full(100, 16, np.uint16),
        np.concatenate([np.frombuffer(number.to_bytes(16, "little"), np.uint8) for number in range(1, 101)]),
    )
    assert read.found.all()
    assert read.amounts.any()
    assert read.amounts.sum() == 0


def test_values_of_every_size_are_kept_and_their_storage_is_used_again(feeder: Feeder) -> None:
    sizes = [0, 1, 7, 8, 31, 32, 33, 160, 161, 5000, 65_537, PAYLOAD_BYTES_MAX - 100]
    rng = np.random.default_rng(1)
    used = 0
    for _ in range(3):
        values = [rng.bytes(size) for size in sizes]
        feeder.apply(*(put(b"key of %d" % size, value) for size, value in zip(sizes, values, strict=True)))
        keys = [b"key of %d" % size for size in sizes]
        read = feeder.state.read(
            np.ones(len(keys), np.uint8),
            np.zeros(len(keys), np.uint16),
            np.array([len(key) for key in keys], np.uint16),
            np.frombuffer(b"".join(keys), np.uint8),
        )
        assert [read.value(number) for number in range(len(keys))] == values
        feeder.apply(*(delete(key) for key in keys))
        assert used in (0, feeder.state.table_bytes)
        used = feeder.state.table_bytes


def test_an_entry_that_is_not_there_reads_as_not_found(feeder: Feeder) -> None:
    feeder.apply(put(b"a", b"value"))
    read = feeder.state.read(
        np.array([2, 1, 1], np.uint8),
        np.array([0, 1, 0], np.uint16),
        np.array([1, 1, 2], np.uint16),
        np.frombuffer(b"aaa\0", np.uint8),
    )
    assert not read.found.any()
    assert not read.versions.any()
    assert read.values.size == 0


def test_reads_whose_arrays_do_not_fit_together_are_refused(feeder: Feeder) -> None:
    with pytest.raises(ValueError, match="one after the other"):
        feeder.state.read(np.ones(1, np.uint8), np.zeros(1, np.uint16), np.array([5], np.uint16), np.zeros(4, np.uint8))


def test_a_key_longer_than_any_is_refused(feeder: Feeder) -> None:
    too_long = KEY_BYTES_MAX + 1
    lengths = np.array([too_long], np.uint16)
    with pytest.raises(ValueError, match=f"a key has {too_long} bytes"):
        feeder.state.read(np.ones(1, np.uint8), np.zeros(1, np.uint16), lengths, np.zeros(too_long, np.uint8))


def test_an_answer_beyond_the_limit_is_refused_before_memory_is_taken_for_it(feeder: Feeder) -> None:
    feeder.apply(put(b"k", bytes(PAYLOAD_BYTES_MAX - 1)))
    size = PAYLOAD_BYTES_MAX - 1

    def read(times: int, **limit: int) -> int:
        ones = np.ones(times, np.uint16)
        keys = np.frombuffer(b"k" * times, np.uint8)
        return feeder.state.read(ones.astype(np.uint8), ones - 1, ones, keys, **limit).values.size

    tracemalloc.start()
    try:
        with pytest.raises(AnswerTooLarge, match="fewer keys") as refused:
            read(2000)
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()
    assert (refused.value.values_bytes, refused.value.values_bytes_max) == (2000 * size, 12 << 20)
    assert read(12) == 12 * size
    assert read(3, values_bytes_max=3 * size) == 3 * size
    with pytest.raises(AnswerTooLarge):
        read(3, values_bytes_max=3 * size - 1)
    with pytest.raises(AnswerTooLarge):
        read(1, values_bytes_max=0)


def test_a_million_accounts_are_all_found_after_growth() -> None:
    with StateMachine(bytes_max=512 << 20, session_bounds=bounds(8)) as state:
        feeder = Feeder(state)
        records = np.zeros(10_000, dtype=record.RECORD)
        records["client_id"], records["operation"] = 1, opcode.OPEN_ACCOUNT
        for block in range(100):
            numbers = np.arange(1, 10_001) + block * 10_000
            records["sequence"] = records["key_lo"] = numbers
            assert set(feeder.apply_body(records.view(np.uint8), 10_000)) == {OK}
        assert state.entries == 1_000_000
        assert set(feeder.apply_body(transfers(1_000_000, 10_000, seed=1), 10_000)) == {result_code.INSUFFICIENT_FUNDS}
        assert state.table_bytes < 110_000_000
        assert state.free_bytes == (512 << 20) - state.session_bounds.bytes_max - state.table_bytes


def test_a_full_store_says_what_to_do() -> None:
    with StateMachine(bytes_max=4 << 20, session_bounds=bounds(8)) as state:
        feeder = Feeder(state)
        values = [put(b"%d" % number, bytes(PAYLOAD_BYTES_MAX - 100)) for number in range(20)]
        with pytest.raises(StateFull, match=r"position \d+ .* larger state\.bytes_max"):
            feeder.apply(*values)
        assert state.table_bytes > state.bytes_max
        assert state.free_bytes == 0


@pytest.mark.parametrize(("position", "index"), [(1, 1), (0, 0), (0, 2)])
def test_a_block_that_does_not_follow_is_refused_and_changes_nothing(feeder: Feeder, position: int, index: int) -> None:
    body, _ = pack([put(b"a", b"")])
    with pytest.raises(BlockOutOfOrder, match="expects position 0 next"):
        feeder.state.apply(body, 1, 0, position, START_NS, index, np.zeros(1, np.uint8))
    assert feeder.state.applied_index == 0


def test_a_block_without_transactions_moves_the_index_only(feeder: Feeder) -> None:
    assert feeder.apply() == []
    assert (feeder.state.applied_index, feeder.state.applied_position, feeder.state.effects_digest) == (1, 0, 0)


@pytest.mark.parametrize("word", [0, 99 << 16, opcode.PUT << 16 | 1 << 32, opcode.APPEND << 16 | LINKED << 24])
def test_a_record_that_no_edge_lets_through_stops_the_machine(feeder: Feeder, word: int) -> None:
    words = np.zeros(8, dtype=np.uint64)
    words[record.WORD_META] = word
    words[record.WORD_SEQUENCE] = 1
    with pytest.raises(RecordInvalid, match="position 0"):
        feeder.apply_body(words.view(np.uint8), 1)


def test_tables_in_a_file_and_in_memory_agree(tmp_path: Path) -> None:
    log = mixed_log()[:500]
    with StateMachine(tmp_path / "state", bytes_max=16 << 20, session_bounds=bounds(8)) as in_file:
        Feeder(in_file).apply(*log)
        with StateMachine(bytes_max=16 << 20, session_bounds=bounds(8)) as in_memory:
            Feeder(in_memory).apply(*log)
            assert in_file.state_digest() == in_memory.state_digest()


@pytest.mark.parametrize(("bytes_max", "sessions", "what"), [(1000, 8, "bytes_max"), (1 << 24, 0, "session_capacity")])
def test_limits_that_make_no_sense_are_refused(bytes_max: int, sessions: int, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        StateMachine(bytes_max=bytes_max, session_bounds=bounds(sessions))
