"""Reading entries: one compiled call for a batch of keys."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from statestore.kernel.hashing import key_hash, long_key_hash
from statestore.kernel.layout import (
    ENTRY_AMOUNT,
    ENTRY_DETAIL,
    ENTRY_VERSION,
    IDENT_LENGTH_SHIFT,
    IDENT_NAMESPACE_SHIFT,
    KEY_INLINE_BYTES,
    KIND_MASK,
    KIND_VALUE,
    ONE,
    WORD_BYTES,
    ZERO,
)
from statestore.kernel.table import find, find_long
from txqueue.jit.decorators import inner, kernel
from txqueue.jit.native_types import U64, Bytes, Words, u64_range
from txqueue.jit.raw_memory import copy_bytes, pointer

BYTE_BITS = U64(3)

# Columns of the kernel's answer.
FOUND = U64(0)
VERSION = U64(1)
AMOUNT = U64(2)
DETAIL = U64(3)
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
def find_entry(words: Words, region: Bytes, ident: U64, keys: Bytes, start: U64) -> U64:
    """The entry for the identity word `ident` and the key bytes in `keys` from `start`, or 0."""
    length = ident >> IDENT_LENGTH_SHIFT
    if length > KEY_INLINE_BYTES:
        hashed = key_hash(words, long_key_hash(words, keys, start, length), ZERO, ident)
        return find_long(words, region, hashed, ident, keys, start)
    lo = ZERO
    hi = ZERO
    for k in u64_range(length):
        byte = U64(keys[start + k])
        if k < WORD_BYTES:
            lo |= byte << (k << BYTE_BITS)
        else:
            hi |= byte << ((k - WORD_BYTES) << BYTE_BITS)
    return find(words, key_hash(words, lo, hi, ident), lo, hi, ident)


@kernel
def read_entries(
    region_words: NDArray[np.uint64],
    region_bytes: NDArray[np.uint8],
    kinds: NDArray[np.uint64],
    namespaces: NDArray[np.uint64],
    lengths: NDArray[np.uint64],
    key_data: NDArray[np.uint8],
    answers: NDArray[np.uint64],
    values: NDArray[np.uint8],
) -> U64:
    """Looks up a batch of keys and copies what they hold.

    Args:
        region_words: the state's region, uint64; `region_bytes`: the same memory as uint8.
        kinds, namespaces, lengths: uint64[n]; `key_data`: uint8, the keys' bytes one after the other.
        answers: uint64[n * COLUMNS], written.
        values: uint8, written as far as whole values fit.

    Returns:
        Bytes of all values together: where `values` holds fewer, the call is to be repeated with as many.
    """
    words = pointer(region_words)
    region = pointer(region_bytes)
    keys = pointer(key_data)
    start = ZERO
    value_end = ZERO
    for i in u64_range(U64(kinds.size)):
        ident = kinds[i] | namespaces[i] << IDENT_NAMESPACE_SHIFT | lengths[i] << IDENT_LENGTH_SHIFT
        entry = find_entry(words, region, ident, keys, start)
        start += lengths[i]
        at = i * COLUMNS
        answers[at + FOUND] = ONE if entry != ZERO else ZERO
        answers[at + VERSION] = ZERO
        answers[at + AMOUNT] = ZERO
        answers[at + DETAIL] = ZERO
        if entry != ZERO:
            answers[at + VERSION] = words[entry + ENTRY_VERSION]
            held = words[entry + ENTRY_AMOUNT]
            detail = words[entry + ENTRY_DETAIL]
            if ident & KIND_MASK == KIND_VALUE:
                if value_end + detail <= U64(values.size):
                    copy_bytes(pointer(values), value_end, words, held * WORD_BYTES, detail)
                value_end += detail
            else:
                answers[at + AMOUNT] = held
                answers[at + DETAIL] = detail
        answers[at + VALUE_END] = value_end
    return value_end
