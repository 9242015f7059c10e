"""Reads of entries: one compiled call for a batch of keys."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from statestore.kernel.hashing import key_hash, long_key_hash
from statestore.kernel.kernel_types import Entry, InlineKey, LongKey
from statestore.kernel.layout import (
    ENTRY_AMOUNT,
    ENTRY_OVERDRAFT,
    ENTRY_VALUE_BLOCK,
    ENTRY_VALUE_BYTES,
    ENTRY_VERSION,
    IDENTITY_LENGTH_SHIFT,
    IDENTITY_NAMESPACE_SHIFT,
    KEY_INLINE_BYTES,
    KIND_MASK,
    KIND_VALUE,
    ONE,
    WORD_BYTES,
    ZERO,
)
from statestore.kernel.table import find
from txqueue.jit.decorators import inner, kernel
from txqueue.jit.native_types import U64, Bytes, Words, u64_range
from txqueue.jit.raw_memory import copy_bytes, pointer

BYTE_BITS = U64(3)

# Columns of the kernel's answer.
FOUND = U64(0)
VERSION = U64(1)
AMOUNT = U64(2)
OVERDRAFT = U64(3)
VALUE_END = U64(4)
COLUMNS = U64(5)


@dataclass(frozen=True)
class Entries:
    """Answers to a batch of reads, in the order of the keys. Arrays of n, unless said otherwise.

    Attributes:
        found: bool.
        versions: uint64; 0 where not found.
        amounts: int64; of counters and accounts, else 0.
        overdrafts: bool; of accounts.
        value_offsets: uint64[n + 1]; value i is `values[value_offsets[i]:value_offsets[i + 1]]`.
        values: uint8; the values' bytes one after the other.
    """

    found: NDArray[np.bool_]
    versions: NDArray[np.uint64]
    amounts: NDArray[np.int64]
    overdrafts: NDArray[np.bool_]
    value_offsets: NDArray[np.uint64]
    values: NDArray[np.uint8]

    def value(self, number: int) -> bytes:
        """The value of key `number`; empty where it was not found or is no value."""
        return self.values[int(self.value_offsets[number]) : int(self.value_offsets[number + 1])].tobytes()


@inner
def find_entry(words: Words, identity: U64, keys: Bytes, start: U64) -> Entry:
    """The entry for the identity word `identity` and the key bytes in `keys` from `start`, or NO_ENTRY."""
    length = identity >> IDENTITY_LENGTH_SHIFT
    if length > KEY_INLINE_BYTES:
        hashed = key_hash(words, InlineKey(long_key_hash(words, keys, start, length), ZERO, identity))
        return find(words, hashed, LongKey(keys, start, hashed, identity))
    lo = ZERO
    hi = ZERO
    for k in u64_range(length):
        byte = U64(keys[start + k])
        if k < WORD_BYTES:
            lo |= byte << (k << BYTE_BITS)
        else:
            hi |= byte << ((k - WORD_BYTES) << BYTE_BITS)
    key = InlineKey(lo, hi, identity)
    return find(words, key_hash(words, key), key)


@kernel
def read_entries(
    region_words: NDArray[np.uint64],
    kinds: NDArray[np.uint64],
    namespaces: NDArray[np.uint64],
    key_lengths: NDArray[np.uint64],
    key_data: NDArray[np.uint8],
    answer_words: NDArray[np.uint64],
    value_data: NDArray[np.uint8],
) -> U64:
    """Looks up a batch of keys and copies what they hold.

    Args:
        region_words: the state's region, uint64.
        kinds: uint64[n].
        namespaces: uint64[n].
        key_lengths: uint64[n], in bytes.
        key_data: uint8, the keys' bytes one after the other.
        answer_words: uint64[n * COLUMNS], written.
        value_data: uint8, written as far as whole values fit.

    Returns:
        Bytes of all values together: where `value_data` holds fewer, the call is to be repeated with as many.

    Raises:
        AssertionError: an invariant does not hold; in a debug build only.
    """
    words = pointer(region_words)
    keys = pointer(key_data)
    answers = pointer(answer_words)
    start = ZERO
    value_end = ZERO
    for i in u64_range(U64(kinds.size)):
        length = pointer(key_lengths)[i]
        namespace = pointer(namespaces)[i]
        identity = pointer(kinds)[i] | namespace << IDENTITY_NAMESPACE_SHIFT | length << IDENTITY_LENGTH_SHIFT
        entry = find_entry(words, identity, keys, start)
        start += length
        at = i * COLUMNS
        answers[at + FOUND] = ONE if entry != ZERO else ZERO
        answers[at + VERSION] = ZERO
        answers[at + AMOUNT] = ZERO
        answers[at + OVERDRAFT] = ZERO
        if entry != ZERO:
            answers[at + VERSION] = words[entry + ENTRY_VERSION]
            if identity & KIND_MASK == KIND_VALUE:
                first = words[entry + ENTRY_VALUE_BLOCK] * WORD_BYTES
                value_bytes = words[entry + ENTRY_VALUE_BYTES]
                if value_end + value_bytes <= U64(value_data.size):
                    copy_bytes(pointer(value_data), value_end, words, first, value_bytes)
                value_end += value_bytes
            else:
                answers[at + AMOUNT] = words[entry + ENTRY_AMOUNT]
                answers[at + OVERDRAFT] = words[entry + ENTRY_OVERDRAFT]
        answers[at + VALUE_END] = value_end
    return value_end
