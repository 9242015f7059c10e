"""Layout of the state's one region, an array of 64-bit words.

    header       one page: the region's own, counters, heads of the heap's free lists
    sessions     64-byte rows, an index from client id to row, and one result window per row
    directory    one word per hash prefix: the bucket that holds the keys with that prefix
    arena        table buckets grow upwards from its start, heap blocks downwards from its end

Offsets are in words unless a name says bytes. All are ``uint64``: in numba a mix of signed and unsigned operands turns
signed, and a signed index costs a test for Python's negative indexing on every access.
"""

from dataclasses import dataclass
from typing import Final

from penstock.contract import limits
from txqueue.jit.native_types import U64

ZERO: Final = U64(0)
ONE: Final = U64(1)
WORD_BYTES: Final = U64(8)
LINE_WORDS: Final = U64(8)

# --- header, from word 8: the region has its own before it ------------------------------------------------------------
APPLIED_INDEX: Final = U64(8)
APPLIED_POSITION: Final = U64(9)
EFFECTS_DIGEST: Final = U64(10)
ENTRY_COUNT: Final = U64(11)
SESSION_COUNT: Final = U64(12)
DIRECTORY_DEPTH: Final = U64(13)
"""Leading hash bits that select a directory word."""
SESSION_PAGE_COUNT: Final = U64(14)
"""Pages of windows that were ever written."""
HASH_MASK: Final = U64(15)
"""HASH_ALL, except where a test wants keys to collide."""
HASH_ALL: Final = (1 << 64) - 1
DIRECTORY: Final = U64(16)
DIRECTORY_DEPTH_MAX: Final = U64(17)
BUCKETS_END: Final = U64(18)
"""First free word above the buckets."""
HEAP_BOTTOM: Final = U64(19)
"""First used word of the heap."""
SESSION_ROWS: Final = U64(20)
SESSION_INDEX: Final = U64(21)
SESSION_INDEX_MASK: Final = U64(22)
SESSION_WINDOWS: Final = U64(23)
SESSION_CAPACITY: Final = U64(24)
SESSION_HORIZON_NS: Final = U64(25)
SESSION_FREE_LIST: Final = U64(26)
"""Number + 1 of the first row that was used and forgotten; 0: none."""
SESSION_ROWS_EVER_USED: Final = U64(27)
"""Rows ever used: the next one that never was."""
SESSION_SWEEP_TIME: Final = U64(28)
"""Block time of the last sweep for idle sessions; another one at the same time would find nothing."""
ARENA_START: Final = U64(29)
ARENA_END: Final = U64(30)
SECRET_LO: Final = U64(32)
"""The first of the words that key the hashes: for a key's words, its identity, both together, bytes of long keys."""
SECRET_HI: Final = U64(33)
SECRET_IDENTITY: Final = U64(34)
SECRET_KIND: Final = U64(35)
SECRET_KEY: Final = U64(36)
SECRET_START: Final = U64(37)
SECRET_DATA: Final = U64(38)
SECRET_WORDS: Final = 7
HEAP_FREE_LISTS: Final = U64(64)
"""Heads of the free lists, one per size class."""
HEADER_WORDS: Final = U64(512)

# --- entries: one cache line each -------------------------------------------------------------------------------------
ENTRY_KEY_LO: Final = U64(0)
"""The key where it fits, zero-padded."""
ENTRY_KEY_BLOCK: Final = ENTRY_KEY_LO
"""Of a longer key the heap block that holds it, with 0 in KEY_HI."""
ENTRY_KEY_HI: Final = U64(1)
ENTRY_IDENTITY: Final = U64(2)
"""kind | namespace << 8 | key length << 32; 0: no entry."""
ENTRY_AMOUNT: Final = U64(3)
"""Of an account or a counter: its balance or count as i64."""
ENTRY_VALUE_BLOCK: Final = ENTRY_AMOUNT
"""Of a value: the heap block that holds it; 0 where it is empty."""
ENTRY_VERSION: Final = U64(4)
ENTRY_OVERDRAFT: Final = U64(5)
"""Of an account: 1 where it may be overdrawn."""
ENTRY_VALUE_BYTES: Final = ENTRY_OVERDRAFT
"""Of a value: its length."""
ENTRY_HASH: Final = U64(6)
ENTRY_WORDS: Final = U64(8)

KIND_VALUE: Final = U64(1)
KIND_COUNTER: Final = U64(2)
KIND_ACCOUNT: Final = U64(3)
KIND_MASK: Final = U64(0xFF)
IDENTITY_NAMESPACE_SHIFT: Final = U64(8)
IDENTITY_LENGTH_SHIFT: Final = U64(32)
ACCOUNT_IDENTITY: Final = KIND_ACCOUNT | U64(16) << IDENTITY_LENGTH_SHIFT
KEY_INLINE_BYTES: Final = U64(limits.KEY_INLINE_BYTES_MAX)

# --- buckets: a header line, 1,023 entries packed from the front, and an index of 128 groups of 16 tags -------------
BUCKET_COUNT: Final = U64(0)
"""Entries: they are numbers 1 to this one. The header is in place of number 0, and its identity word is always 0."""
BUCKET_DEPTH: Final = U64(1)
BUCKET_NEXT: Final = U64(3)
"""The next bucket for the same hash prefix; 0: none. (Word 2 is the identity of number 0.)"""
BUCKET_ENTRIES_MAX: Final = U64(1023)
"""At most half of the index is used, so hardly ever does a group overflow into the next one."""
BUCKET_INDEX: Final = U64(1024) * ENTRY_WORDS
BUCKET_WORDS: Final = BUCKET_INDEX + U64(1024)
GROUP_WORDS: Final = LINE_WORDS
GROUP_TAGS: Final = U64(16)
GROUP_MASK: Final = U64(127)
"""The hash bits that choose a group."""
TAG_HASH_SHIFT: Final = U64(7)
TAG_NUMBER_MASK: Final = U64(1023)
TAG_HASH_MASK: Final = U64(0x7FFFFC00)
TAG_USED: Final = U64(0x80000000)
"""A tag is a u32: the entry's number, 21 bits of its hash, and this bit; 0: none."""
HASH_BITS: Final = U64(63)

# --- heap -------------------------------------------------------------------------------------------------------------
HEAP_UNIT_BYTES: Final = U64(32)
HEAP_UNIT_WORDS: Final = U64(4)
HEAP_CLASSES: Final = U64(56)
"""Size classes for blocks up to 1 MiB."""

# --- sessions ---------------------------------------------------------------------------------------------------------
SESSION_CLIENT: Final = U64(0)
SESSION_HIGHEST: Final = U64(1)
SESSION_STALE_PAGES: Final = U64(2)
"""A bit per page of the window that is to be read as zeros, whatever it holds."""
SESSION_TIME_NS: Final = U64(3)
SESSION_WINDOW: Final = U64(4)
"""Byte offset of the window in the region."""
SESSION_IN_USE: Final = U64(5)
SESSION_NEXT_FREE: Final = U64(6)
SESSION_WRITTEN_PAGES: Final = U64(7)
"""A bit per page of the window that was ever written. It outlives the session, as the memory does."""
SESSION_WORDS: Final = U64(8)
DEDUP_WINDOW_BYTES: Final = U64(131_072)
DEDUP_WINDOW_MASK: Final = DEDUP_WINDOW_BYTES - ONE
DEDUP_PAGE_SHIFT: Final = U64(12)
DEDUP_PAGE_BYTES: Final = ONE << DEDUP_PAGE_SHIFT
DEDUP_PAGE_MASK: Final = DEDUP_PAGE_BYTES - ONE
DEDUP_PAGES_ALL: Final = (ONE << (DEDUP_WINDOW_BYTES >> DEDUP_PAGE_SHIFT)) - ONE

# --- scratch: not state, an array of its own --------------------------------------------------------------------------
CHUNK_RECORDS: Final = U64(32)
"""Records that are hashed and prefetched together, ahead of the ones being applied."""
LOOKAHEAD_MASK: Final = CHUNK_RECORDS * U64(2) - ONE
SCRATCH_HASH: Final = U64(0)
SCRATCH_DEBIT: Final = SCRATCH_HASH + CHUNK_RECORDS * U64(2)
SCRATCH_CREDIT: Final = SCRATCH_DEBIT + CHUNK_RECORDS * U64(2)
SCRATCH_PAYLOAD: Final = SCRATCH_CREDIT + CHUNK_RECORDS * U64(2)
SCRATCH_UNDO_COUNT: Final = SCRATCH_PAYLOAD + CHUNK_RECORDS * U64(2)
SCRATCH_CHAIN: Final = U64(512)
CHAIN_VERDICT: Final = U64(0)
CHAIN_SESSION: Final = U64(1)
CHAIN_EFFECT: Final = U64(2)
CHAIN_WORDS: Final = U64(3)
SCRATCH_UNDO: Final = SCRATCH_CHAIN + U64(limits.BATCH_SIZE) * CHAIN_WORDS
"""Per change of a chain: what it was, and the entry as it was."""
UNDO_WORDS: Final = U64(9)
UNDO_RECORDS_MAX: Final = U64(2 * limits.BATCH_SIZE)
"""A record of a chain changes two entries at most."""
SCRATCH_BUCKET: Final = SCRATCH_UNDO + UNDO_RECORDS_MAX * UNDO_WORDS
SCRATCH_WORDS: Final = int(SCRATCH_BUCKET + BUCKET_WORDS)

PAGE_BYTES: Final = 4096
VERSION: Final = 3
"""Of this layout."""
ENTRIES_BYTES_MIN: Final = 4 << 20
"""Least arena that is of any use: a few buckets and one value of the largest size."""


@dataclass(frozen=True)
class RegionLayout:
    """Byte offsets of a region's parts, for given limits."""

    session_rows: int
    session_index: int
    session_index_slots: int
    session_windows: int
    directory: int
    directory_depth_max: int
    arena: int
    size: int

    @classmethod
    def plan(cls, bytes_max: int, reserve_bytes: int, session_capacity: int) -> "RegionLayout":
        """Lays a region out for an arena of `bytes_max` (entries and values) and a reserve behind it, and sessions.

        Raises:
            ValueError: a limit makes no sense.
        """
        if bytes_max < ENTRIES_BYTES_MIN:
            raise ValueError(f"bytes_max is {bytes_max}; the state store needs at least {ENTRIES_BYTES_MIN}")
        if session_capacity < 1:
            raise ValueError(f"session_capacity is {session_capacity}; allow at least one session")
        index_slots = 1 << (2 * session_capacity - 1).bit_length()
        # Hashing leaves some prefixes fuller than others: two bits more than evenly filled buckets would need.
        depth_max = ((bytes_max + reserve_bytes) // (int(BUCKET_WORDS) * 8)).bit_length() + 2
        rows = int(HEADER_WORDS) * 8
        index = rows + session_capacity * int(SESSION_WORDS) * 8
        directory = index + index_slots * 8
        windows = _round_up(directory + (8 << depth_max), PAGE_BYTES)
        arena = windows + session_capacity * int(DEDUP_WINDOW_BYTES)
        size = arena + _round_up(bytes_max + reserve_bytes, PAGE_BYTES)
        return cls(rows, index, index_slots, windows, directory, depth_max, arena, size)


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
