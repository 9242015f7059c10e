"""Each invariant that a debug build asserts is broken here by one word of the region, and the kernel says which it is.

They are run by `test_debug_build.py`, in a process whose kernels have assertions.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from _pytest.mark import ParameterSet
from numpy.typing import NDArray

from penstock.contract.flag import LINKED, OVERDRAFT
from penstock.contract.limits import BATCH_SIZE
from penstock.contract.opcode import APPEND, END_SESSION
from penstock.contract.result_code import OK
from statestore.kernel import layout
from statestore.kernel.heap import allocate
from statestore.kernel.kernel_types import Bucket, Entry, Hash, Session, State
from statestore.kernel.layout import ONE
from statestore.kernel.sessions.order_of_use import unlink
from statestore.kernel.sessions.session_table import forget
from statestore.kernel.table import append_entry, remove
from statestore.kernel.undo import CHANGED, DELETED, record_undo, rollback
from statestore.state_machine import StateMachine
from tests.statestore.blocks import Feeder, Tx, add, bounds, delete, opened, put, transfer
from txqueue.jit.debug_build import CHECKED
from txqueue.jit.decorators import kernel
from txqueue.jit.native_types import U64, u64_range
from txqueue.jit.raw_memory import pointer

LONG = b"a key too long for its entry"
FREED_CLASS = 6
"""The size class of 200 bytes: 7 units."""

ANY_TAGS = 0x00000001_00000001
"""Two tags that no hash has."""

pytestmark = pytest.mark.skipif(not CHECKED, reason="kernels have no assertions in this build")


@pytest.fixture
def filled() -> Iterator[Feeder]:
    """Two accounts, a counter with a long key, a value in the heap, and a freed block of 200 bytes."""
    with StateMachine(bytes_max=8 << 20, session_bounds=bounds(4), hash_seed=1) as state:
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


def entry_with_key(state: StateMachine, key: bytes) -> int:
    """The entry with a short key."""
    words = state._words[: int(state._words[layout.BUCKETS_END])]
    return int(np.flatnonzero(words == int.from_bytes(key, "little"))[-1])


def session(state: StateMachine) -> int:
    return word(state, layout.SESSIONS) + int(layout.SESSION_HEADS * layout.SESSION_WORDS)


def page(state: StateMachine) -> int:
    return word(state, layout.PAGES)


def index(state: StateMachine, table: U64, mask: U64) -> NDArray[np.uint64]:
    return state._words[word(state, table) :][: 2 * (word(state, mask) + 1)]


def fill_index(state: StateMachine) -> None:
    """Let the index of pages have two slots, and both be used."""
    set_word(state, int(layout.PAGE_INDEX_MASK), 1)
    index(state, layout.PAGE_INDEX, layout.PAGE_INDEX_MASK).fill(1)


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
            "the index of sessions leads to none",
            lambda s: set_word(s, session(s) + int(layout.SESSION_PREVIOUS), 0),
            add(b"n", 1),
        ),
        breaks(
            "a session is opened that is in use",
            lambda s: set_word(s, int(layout.SESSION_FREE_LIST), session(s)),
            transfer(1, 2, 1, client=2),
        ),
        breaks(
            "a sequence above the highest has a result",
            lambda s: set_word(s, page(s) + int(layout.PAGE_SLOTS) + 7, 1),
            add(b"n", 1),
        ),
        breaks(
            "the order of sessions is broken",
            lambda s: set_word(s, word(s, layout.SESSIONS) + int(layout.SESSION_NEXT), 0),
            Tx(END_SESSION, client=1, sequence=7),
        ),
        breaks(
            "a page is freed twice",
            lambda s: set_word(s, page(s) + int(layout.PAGE_NUMBER), int(layout.NO_PAGE_NUMBER)),
            Tx(END_SESSION, client=1, sequence=7),
        ),
        breaks(
            "what is to be removed is not in its index",
            lambda s: index(s, layout.PAGE_INDEX, layout.PAGE_INDEX_MASK).fill(0),
            Tx(END_SESSION, client=1, sequence=7),
        ),
        breaks(
            "an index is full",
            lambda s: fill_index(s),
            Tx(APPEND, sequence=70),
        ),
        breaks(
            "the orders of use do not hold the sessions that are counted",
            lambda s: set_word(s, int(layout.SESSION_COUNT), 2),
            add(b"n", 1),
        ),
        breaks(
            "the orders of use do not hold the sessions that are counted",
            lambda s: set_word(s, int(layout.PAGE_COUNT), 0),
            add(b"n", 1),
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
            "what is credited is no entry",
            lambda s: set_word(s, bucket(s) + int(layout.BUCKET_COUNT), 1),
            transfer(1, 2, 1),
        ),
        breaks(
            "a bucket's index is full",
            lambda s: s._words[bucket(s) + int(layout.BUCKET_INDEX) : bucket(s) + int(layout.BUCKET_WORDS)].fill(
                ANY_TAGS
            ),
            put(b"n", b""),
        ),
        breaks(
            "a chain is longer than the notes on it",
            lambda s: None,
            *[Tx(APPEND, flags=LINKED)] * BATCH_SIZE,
            Tx(APPEND),
        ),
        breaks(
            "a key lies outside the heap",
            lambda s: set_word(s, entry(s, layout.KIND_COUNTER) + int(layout.ENTRY_KEY_BLOCK), bucket(s)),
            add(LONG, 1),
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


def test_an_entry_whose_hash_leads_elsewhere_is_not_removed(filled: Feeder) -> None:
    filled.apply(*(opened(number) for number in range(10, 1500)))
    at = entry_with_key(filled.state, b"k")
    filled.state._words[at + int(layout.ENTRY_HASH)] ^= np.uint64(1 << 63)
    with pytest.raises(AssertionError, match="an entry lies in no bucket for its hash"):
        filled.apply(delete(b"k"))


APPEND_ENTRY, REMOVE, ALLOCATE, RECORD_UNDO, ROLLBACK, FORGET, UNLINK = map(U64, range(7))


@kernel
def _call(
    region_words: NDArray[np.uint64], scratch_words: NDArray[np.uint64], function: U64, at: U64, number: U64
) -> None:
    """Calls one function of the kernels as none of them would."""
    words = pointer(region_words)
    state = State(words, pointer(scratch_words))
    if function == APPEND_ENTRY:
        append_entry(words, Bucket(at), Hash(number))
    if function == REMOVE:
        remove(words, Entry(at))
    if function == ALLOCATE:
        allocate(words, number)
    if function == RECORD_UNDO:
        for _ in u64_range(number):
            record_undo(state, Entry(at), CHANGED)
    if function == ROLLBACK:
        rollback(state)
    if function == FORGET:
        forget(words, Session(at))
    if function == UNLINK:
        unlink(words, Session(at))


def call(state: StateMachine, function: U64, at: int = 0, number: int = 0) -> None:
    _call(state._words, state._scratch, function, U64(at), U64(number))


def test_an_undo_log_takes_the_changes_of_the_longest_chain_and_no_more(filled: Feeder) -> None:
    account = entry(filled.state, layout.KIND_ACCOUNT)
    call(filled.state, RECORD_UNDO, account, int(layout.UNDO_RECORDS_MAX))
    with pytest.raises(AssertionError, match="the undo log is full"):
        call(filled.state, RECORD_UNDO, account, 1)


def test_changes_are_recorded_of_entries_only(filled: Feeder) -> None:
    with pytest.raises(AssertionError, match="a change is recorded of no entry"):
        call(filled.state, RECORD_UNDO, entry(filled.state, layout.KIND_ACCOUNT) + 1, 1)


def test_a_change_is_undone_only_where_its_entry_is_still_there(filled: Feeder) -> None:
    call(filled.state, RECORD_UNDO, entry(filled.state, layout.KIND_ACCOUNT), 1)
    filled.state._scratch[layout.SCRATCH_UNDO + ONE + layout.ENTRY_KEY_LO] = 99
    with pytest.raises(AssertionError, match="an undone change finds no entry"):
        call(filled.state, ROLLBACK)


def test_a_deletion_is_undone_only_where_its_entry_finds_room(filled: Feeder) -> None:
    state = filled.state
    call(state, RECORD_UNDO, entry(state, layout.KIND_ACCOUNT), 1)
    state._scratch[layout.SCRATCH_UNDO] = DELETED
    state._words[bucket(state) + int(layout.BUCKET_COUNT)] = layout.BUCKET_ENTRIES_MAX
    state._words[layout.HEAP_BOTTOM] = state._words[layout.BUCKETS_END]
    with pytest.raises(AssertionError, match="an undone deletion finds no room"):
        call(state, ROLLBACK)


def test_a_full_bucket_takes_no_entry(filled: Feeder) -> None:
    filled.state._words[bucket(filled.state) + int(layout.BUCKET_COUNT)] = layout.BUCKET_ENTRIES_MAX
    with pytest.raises(AssertionError, match="an entry is added to a full bucket"):
        call(filled.state, APPEND_ENTRY, bucket(filled.state))


def test_only_entries_are_removed(filled: Feeder) -> None:
    with pytest.raises(AssertionError, match="what is removed is no entry"):
        call(filled.state, REMOVE, bucket(filled.state) + 9)


@pytest.mark.parametrize("length", [0, (1 << 20) + 1, 1 << 40])
def test_the_heap_has_no_blocks_beyond_its_classes(filled: Feeder, length: int) -> None:
    with pytest.raises(AssertionError, match="there is no class of blocks for this size"):
        call(filled.state, ALLOCATE, number=length)


def test_only_sessions_are_forgotten(filled: Feeder) -> None:
    with pytest.raises(AssertionError, match="what is forgotten is no session"):
        call(filled.state, FORGET, session(filled.state) + 1)


def test_only_what_is_in_an_order_is_taken_out_of_it(filled: Feeder) -> None:
    with pytest.raises(AssertionError, match="a free row is taken out of an order"):
        call(filled.state, UNLINK, session(filled.state) + int(layout.SESSION_WORDS))


def test_every_assertion_of_the_kernels_is_broken_by_a_test() -> None:
    tests = Path(__file__).read_text()
    kernels = Path(layout.__file__).parent
    messages = {
        message
        for source in kernels.rglob("*.py")
        for message in re.findall(r'assert UNCHECKED or .*?, "(.*)"$', source.read_text(), re.MULTILINE)
    }
    assert len(messages) > 30
    assert {message for message in messages if f'"{message}"' not in tests} == set()
