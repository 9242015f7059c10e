"""Layout of the state's one region, an array of 64-bit words.

    header       one page: the region's own, counters, heads of the heap's free lists
    sessions     64-byte rows and an index of them by client; pages of results, and an index of them by client and
                 sequence
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
BLOCK_TIME: Final = U64(14)
"""Time of the last block, in ns; 0: none."""
HASH_MASK: Final = U64(15)
"""HASH_ALL, except where a test wants keys to collide."""
HASH_ALL: Final = (1 << 64) - 1
DIRECTORY: Final = U64(16)
DIRECTORY_DEPTH_MAX: Final = U64(17)
BUCKETS_END: Final = U64(18)
"""First free word above the buckets."""
HEAP_BOTTOM: Final = U64(19)
"""First used word of the heap."""
SESSIONS: Final = U64(20)
"""First row, which is the head of the list of live sessions; the second one is that of ended sessions."""
SESSION_INDEX: Final = U64(21)
SESSION_INDEX_MASK: Final = U64(22)
SESSION_CAPACITY: Final = U64(24)
"""Bound in force; SESSION_CAPACITY_MAX is what there is address space for."""
SESSION_HORIZON_NS: Final = U64(25)
SESSION_FREE_LIST: Final = U64(26)
"""First row that was used and is free, linked by SESSION_NEXT; 0: none."""
SESSION_ROWS_USED: Final = U64(27)
"""Rows of sessions ever used: the next one never was."""
SESSION_TIME: Final = U64(28)
"""What the ages of sessions are measured by, in ns; see :mod:`statestore.kernel.sessions.session_table`."""
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
PAGES: Final = U64(40)
"""First page of results."""
PAGE_INDEX: Final = U64(41)
PAGE_INDEX_MASK: Final = U64(42)
PAGE_CAPACITY: Final = U64(43)
"""Bound in force on the pages in use; PAGE_CAPACITY_MAX of them have address space."""
PAGE_CAPACITY_MAX: Final = U64(44)
PAGE_COUNT: Final = U64(45)
"""Pages in use."""
PAGE_FREE_LIST: Final = U64(46)
"""First page that was used and is free, linked by PAGE_NEXT; 0: none."""
PAGES_USED: Final = U64(47)
"""Pages ever used: the next one never was."""
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

# --- sessions: one cache line each ------------------------------------------------------------------------------------
SESSION_CLIENT: Final = U64(0)
SESSION_HIGHEST: Final = U64(1)
"""Highest sequence."""
SESSION_PAGE: Final = U64(2)
"""The page of the highest sequence; 0: none."""
SESSION_LAST_USE: Final = U64(3)
"""Session time of the last block with a record of this client; of an ended session, of its end."""
SESSION_PREVIOUS: Final = U64(4)
"""In the order of use, a ring of rows that begins and ends at the list's head; 0: the row is free."""
SESSION_NEXT: Final = U64(5)
SESSION_NEWEST_PAGE: Final = U64(6)
"""The page taken last. Its PAGE_NEXT is the one taken first: the pages are a ring; 0: none."""
SESSION_ENDED_AT: Final = U64(7)
"""Sequence of the client's last END_SESSION: it and all below have expired. The session is ended while it is the
highest; 0: never."""
SESSION_WORDS: Final = U64(8)
SESSION_HEADS: Final = U64(2)
SESSION_CAPACITY_MAX: Final = 1 << 20
SESSION_BYTES: Final = 96
"""What a session is counted as: its row, and two slots of the index."""

# --- pages of results: a header line, and a slot for each of 32 sequences in a row ------------------------------------
PAGE_CLIENT: Final = U64(0)
PAGE_NUMBER: Final = U64(1)
"""Its first sequence / 32; NO_PAGE_NUMBER: the page is free."""
PAGE_NEXT: Final = U64(2)
PAGE_HASH: Final = U64(3)
"""By which its index finds it."""
PAGE_SLOTS: Final = U64(8)
"""A slot is the result, with the upper 56 bits of the transaction's fingerprint; 0: the sequence was not seen."""
PAGE_SEQUENCES: Final = U64(32)
PAGE_SEQUENCE_MASK: Final = PAGE_SEQUENCES - ONE
PAGE_SEQUENCE_SHIFT: Final = U64(5)
PAGE_WORDS: Final = PAGE_SLOTS + PAGE_SEQUENCES
NO_PAGE_NUMBER: Final = ~ZERO
PAGE_COST_BYTES: Final = 352
"""What a page is counted as: itself, and two slots of the index."""
RESULT_WINDOW: Final = U64(limits.RESULT_WINDOW)

# --- scratch: not state, an array of its own --------------------------------------------------------------------------
CHUNK_RECORDS: Final = U64(32)
"""Records that are hashed and prefetched together, ahead of the ones being applied."""
LOOKAHEAD_MASK: Final = CHUNK_RECORDS * U64(2) - ONE
SCRATCH_HASH: Final = U64(0)
SCRATCH_DEBIT: Final = SCRATCH_HASH + CHUNK_RECORDS * U64(2)
SCRATCH_CREDIT: Final = SCRATCH_DEBIT + CHUNK_RECORDS * U64(2)
SCRATCH_PAYLOAD: Final = SCRATCH_CREDIT + CHUNK_RECORDS * U64(2)
SCRATCH_FINGERPRINT: Final = SCRATCH_PAYLOAD + CHUNK_RECORDS * U64(2)
SCRATCH_UNDO_COUNT: Final = SCRATCH_FINGERPRINT + CHUNK_RECORDS * U64(2)
SCRATCH_CHAIN: Final = U64(512)
CHAIN_VERDICT: Final = U64(0)
CHAIN_SLOT: Final = U64(1)
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
"""Of memory, as the kernel maps it."""
SLOT_BYTES: Final = 16
"""Of an index: a hash, and what it leads to."""
VERSION: Final = 5
"""Of this layout."""
PAGES_BYTES_MIN: Final = 4 << 30
"""Address space for pages of results at least, so that a log is replayed by a node of less memory than it came from."""
ENTRIES_BYTES_MIN: Final = 4 << 20
"""Least arena that is of any use: a few buckets and one value of the largest size."""


@dataclass(frozen=True)
class RegionLayout:
    """Byte offsets of a region's parts, for given limits."""

    sessions: int
    session_index: int
    pages: int
    page_capacity_max: int
    page_index: int
    directory: int
    directory_depth_max: int
    arena: int
    size: int

    @classmethod
    def plan(cls, bytes_max: int, reserve_bytes: int) -> "RegionLayout":
        """Lays a region out for an arena of `bytes_max` (entries and values) and a reserve behind it, and sessions.

        There is address space for as many sessions as there may ever be, and for pages of results up to half of
        `bytes_max`, or 4 GiB where that is more: the bounds in force can be changed while the state lives.

        Raises:
            ValueError: a limit makes no sense.
        """
        if bytes_max < ENTRIES_BYTES_MIN:
            raise ValueError(f"bytes_max is {bytes_max}; the state store needs at least {ENTRIES_BYTES_MIN}")
        # Hashing leaves some prefixes fuller than others: two bits more than evenly filled buckets would need.
        depth_max = ((bytes_max + reserve_bytes) // (int(BUCKET_WORDS) * 8)).bit_length() + 2
        session_index_slots = index_slots(SESSION_CAPACITY_MAX)
        page_capacity_max = max(bytes_max // 2, PAGES_BYTES_MIN) // PAGE_COST_BYTES
        page_index_slots = index_slots(page_capacity_max)
        sessions = int(HEADER_WORDS) * 8
        session_index = sessions + (SESSION_CAPACITY_MAX + int(SESSION_HEADS)) * int(SESSION_WORDS) * 8
        page_index = session_index + session_index_slots * SLOT_BYTES
        pages = page_index + page_index_slots * SLOT_BYTES
        directory = pages + page_capacity_max * int(PAGE_WORDS) * 8
        arena = _round_up(directory + (8 << depth_max), PAGE_BYTES)
        size = arena + _round_up(bytes_max + reserve_bytes, PAGE_BYTES)
        return cls(
            sessions,
            session_index,
            pages,
            page_capacity_max,
            page_index,
            directory,
            depth_max,
            arena,
            size,
        )


def index_slots(count: int) -> int:
    """Slots of an index that holds up to `count`: a power of two, and at least twice as many."""
    return 1 << (2 * count).bit_length()


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
