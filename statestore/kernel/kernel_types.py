"""Types of the kernels: kinds of words that must not be taken for each other, keys, and what calls pass on together.

All words are ``uint64`` to the compiler. A tuple is its members to it: passing one on costs nothing.
"""

from typing import TYPE_CHECKING, NamedTuple, NewType

from txqueue.jit.native_types import U64, Bytes, Words

if TYPE_CHECKING:
    Hash = NewType("Hash", U64)
    """Of a key: keyed by the secrets, see :mod:`statestore.kernel.hashing`."""
    Bucket = NewType("Bucket", U64)
    """Word offset of a bucket of the table; 0: none."""
    Entry = NewType("Entry", U64)
    """Word offset of an entry, in a bucket or in an undo record; 0: none."""
    HeapBlock = NewType("HeapBlock", U64)
    """Word offset of a block of the heap; 0: none."""
    Session = NewType("Session", U64)
    """Word offset of a session's row; 0: none."""
    Page = NewType("Page", U64)
    """Word offset of a page of results; 0: none."""
else:
    Hash = Bucket = Entry = HeapBlock = Session = Page = U64


class State(NamedTuple):
    """The memory of a state machine."""

    words: Words
    """The region: everything that outlives a block, see :mod:`statestore.kernel.layout`."""
    scratch: Words
    """uint64[SCRATCH_WORDS], which means nothing between two blocks."""


class Block(NamedTuple):
    """A block that is being applied."""

    records: Words
    payloads: Bytes
    payload_bytes: U64
    results: Bytes
    """Written: a result code per record."""
    record_count: U64
    first_position: U64
    """Number in the log of the first record."""
    time_ns: U64


class Record(NamedTuple):
    """A record that is being executed."""

    records: Words
    """Of its block."""
    payloads: Bytes
    """Of its block."""
    base: U64
    """Its first word in `records`."""
    payload_at: U64
    """Its payload's first byte in `payloads`."""
    hashed: Hash
    """Of its key; means nothing for an APPEND or a TRANSFER."""
    version: U64
    """Of the entries that it writes: its position + 1."""
    chained: U64
    """ALONE or CHAINED: whether changes are recorded so that they can be undone."""


class InlineKey(NamedTuple):
    """A key as the words of an entry have it.

    Of a long key `lo` is the heap block that holds it: that names an entry which is already known, as an undo does.
    """

    lo: U64
    hi: U64
    identity: U64


class LongKey(NamedTuple):
    """A key of more than 16 bytes, which lies in `data` from byte `start`."""

    data: Bytes
    start: U64
    hashed: Hash
    identity: U64
