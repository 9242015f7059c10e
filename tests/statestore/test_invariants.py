"""Each invariant that a debug build asserts is broken here by one word of the region, and the kernel says which it is.

They are run by `test_debug_build.py`, in a process whose kernels have assertions.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from _pytest.mark import ParameterSet
from numpy.typing import NDArray

from penstock.contract.flag import LINKED, OVERDRAFT
from penstock.contract.result_code import OK
from statestore.kernel import layout
from statestore.kernel.kernel_types import Entry, State
from statestore.kernel.undo import CHANGED, record_undo
from statestore.state_machine import StateMachine
from tests.statestore.blocks import Feeder, Tx, add, delete, opened, put, transfer
from txqueue.jit.debug_build import CHECKED
from txqueue.jit.decorators import kernel
from txqueue.jit.native_types import U64, u64_range
from txqueue.jit.raw_memory import pointer

LONG = b"a key too long for its entry"
FREED_CLASS = 6
"""The size class of 200 bytes: 7 units."""

pytestmark = pytest.mark.skipif(not CHECKED, reason="kernels have no assertions in this build")


@pytest.fixture
def filled() -> Iterator[Feeder]:
    """Two accounts, a counter with a long key, a value in the heap, and a freed block of 200 bytes."""
    with StateMachine(bytes_max=8 << 20, session_capacity=4, hash_seed=1) as state:
        feeder = Feeder(state)
        block = [
            opened(1, OVERDRAFT),
            opened(2),
            add(LONG, 1),
            put(b"k", bytes(300)),
            put(b"f", bytes(200)),
            delete(b"f"),
        ]
        assert feeder.apply(*block) == [OK] * 6
        yield feeder


def word(state: StateMachine, offset: U64) -> int:
    return int(state._words[offset])


def bucket(state: StateMachine) -> int:
    return word(state, layout.ARENA_START)


def entry(state: StateMachine, kind: U64) -> int:
    """The first entry of a kind."""
    entries = range(bucket(state) + 8, bucket(state) + 8 * 1024, 8)
    return next(at for at in entries if int(state._words[at + int(layout.ENTRY_IDENTITY)]) & 0xFF == int(kind))


def session(state: StateMachine) -> int:
    return word(state, layout.SESSION_ROWS)


def freed_block(state: StateMachine) -> int:
    lists = state._words[int(layout.HEAP_FREE_LISTS) : int(layout.HEAP_FREE_LISTS + layout.HEAP_CLASSES)]
    return int(lists[lists != 0][0])


def set_word(state: StateMachine, at: int, value: int) -> None:
    state._words[at] = value


Break = Callable[[StateMachine], None]


def breaks(message: str, break_: Break, *block: Tx) -> ParameterSet:
    return pytest.param(message, break_, block, id=message)


@pytest.mark.parametrize(
    ("message", "break_state", "block"),
    [
        breaks(
            "the directory names no bucket",
            lambda s: set_word(s, word(s, layout.DIRECTORY), bucket(s) + 1),
            add(b"n", 1),
        ),
        breaks(
            "the directory names no bucket",
            lambda s: set_word(s, bucket(s) + int(layout.BUCKET_COUNT), 1024),
            add(b"n", 1),
        ),
        breaks(
            "the directory names no bucket",
            lambda s: set_word(s, bucket(s) + int(layout.BUCKET_DEPTH), 1),
            add(b"n", 1),
        ),
        breaks(
            "a tag names no entry",
            lambda s: set_word(s, bucket(s) + int(layout.BUCKET_COUNT), 0),
            put(b"k", b""),
        ),
        breaks(
            "an entry is written over",
            lambda s: set_word(s, bucket(s) + 8 * 5 + int(layout.ENTRY_IDENTITY), 1),
            put(b"n", b""),
        ),
        breaks(
            "an entry is removed that was not counted",
            lambda s: set_word(s, int(layout.ENTRY_COUNT), 0),
            delete(b"k"),
        ),
        breaks(
            "an entry has no tag",
            lambda s: set_word(s, entry(s, layout.KIND_VALUE) + int(layout.ENTRY_HASH), 0),
            delete(b"k"),
        ),
        breaks(
            "the buckets do not hold the entries that are counted",
            lambda s: set_word(s, int(layout.ENTRY_COUNT), 7),
            transfer(1, 2, 1),
        ),
        breaks(
            "buckets and heap overlap",
            lambda s: set_word(s, int(layout.HEAP_BOTTOM), bucket(s)),
            put(b"n", bytes(5000)),
        ),
        breaks(
            "what is freed lies outside the heap",
            lambda s: set_word(s, entry(s, layout.KIND_VALUE) + int(layout.ENTRY_VALUE_BLOCK), bucket(s)),
            delete(b"k"),
        ),
        breaks(
            "a block is freed twice",
            lambda s: set_word(s, entry(s, layout.KIND_VALUE) + int(layout.ENTRY_VALUE_BLOCK), freed_block(s)),
            delete(b"k"),
        ),
        breaks(
            "a freed block was written to",
            lambda s: set_word(s, freed_block(s) + 3, 0),
            put(b"n", bytes(200)),
        ),
        breaks(
            "a free list leads out of the heap",
            lambda s: set_word(s, int(layout.HEAP_FREE_LISTS) + FREED_CLASS, bucket(s)),
            put(b"n", bytes(200)),
        ),
        breaks(
            "the index of sessions names none, or its window is not its own",
            lambda s: set_word(s, session(s) + int(layout.SESSION_WINDOW), word(s, layout.SESSION_WINDOWS) + 4096),
            add(b"n", 1),
        ),
        breaks(
            "the index of sessions names none, or its window is not its own",
            lambda s: set_word(s, session(s) + int(layout.SESSION_IN_USE), 0),
            add(b"n", 1),
        ),
        breaks(
            "a session is opened that is in use",
            lambda s: set_word(s, int(layout.SESSION_FREE_LIST), 1),
            transfer(1, 2, 1, client=2),
        ),
        breaks(
            "there is no session of this number",
            lambda s: set_word(s, int(layout.SESSION_FREE_LIST), 5),
            transfer(1, 2, 1, client=2),
        ),
        breaks(
            "a chain begins with another one's undo log",
            lambda s: s._scratch.__setitem__(int(layout.SCRATCH_UNDO_COUNT), 1),
            add(b"n", 1, LINKED),
            add(b"m", 1),
        ),
        breaks(
            "what is debited is no entry",
            lambda s: set_word(s, bucket(s) + int(layout.BUCKET_COUNT), 0),
            transfer(1, 2, 1),
        ),
        breaks(
            "a key lies outside the heap",
            lambda s: set_word(s, entry(s, layout.KIND_COUNTER) + int(layout.ENTRY_KEY_BLOCK), bucket(s)),
            add(LONG, 1),
        ),
        breaks(
            "the index of sessions is full",
            lambda s: s._words[word(s, layout.SESSION_INDEX) :][: word(s, layout.SESSION_INDEX_MASK) + 1].fill(1),
            transfer(1, 2, 1, client=2),
        ),
    ],
)
def test_a_broken_word_is_found_by_the_assertion_on_it(
    filled: Feeder, message: str, break_state: Break, block: tuple[Tx, ...]
) -> None:
    break_state(filled.state)
    with pytest.raises(AssertionError, match=message):
        filled.apply(*block)


def test_the_directory_never_grows_beyond_its_room(filled: Feeder) -> None:
    filled.apply(*(opened(number) for number in range(10, 1500)))
    filled.state._words[layout.DIRECTORY_DEPTH_MAX] = 0
    with pytest.raises(AssertionError, match="the directory outgrows its room"):
        filled.apply(*(opened(number) for number in range(1500, 4000)))


@kernel
def _record_changes(words: NDArray[np.uint64], scratch: NDArray[np.uint64], entry: U64, count: U64) -> None:
    for _ in u64_range(count):
        record_undo(State(pointer(words), pointer(scratch)), Entry(entry), CHANGED)


def test_a_split_takes_no_place_of_another_bucket(filled: Feeder) -> None:
    filled.apply(*(opened(number) for number in range(10, 1500)))
    words = filled.state._words
    directory = word(filled.state, layout.DIRECTORY)
    lower, upper = words[directory : directory + 2]
    assert words[layout.DIRECTORY_DEPTH] == 1
    words[layout.DIRECTORY_DEPTH] = 2
    words[directory : directory + 4] = lower, upper, upper, upper
    with pytest.raises(AssertionError, match="a split takes words of the directory from another bucket"):
        filled.apply(*(opened(number) for number in range(1500, 4000)))


def test_an_undo_log_takes_the_changes_of_the_longest_chain_and_no_more(filled: Feeder) -> None:
    words, scratch = filled.state._words, filled.state._scratch
    account = U64(entry(filled.state, layout.KIND_ACCOUNT))
    _record_changes(words, scratch, account, layout.UNDO_RECORDS_MAX)
    with pytest.raises(AssertionError, match="the undo log is full"):
        _record_changes(words, scratch, account, U64(1))
    scratch[layout.SCRATCH_UNDO_COUNT] = 0
    with pytest.raises(AssertionError, match="a change is recorded of no entry"):
        _record_changes(words, scratch, U64(int(account) + 1), U64(1))
