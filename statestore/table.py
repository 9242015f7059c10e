"""The hash table: extendible hashing over segments of cache-line entries.

A key's leading hash bits select a word of the directory, which names a segment of 1,024 entries; its trailing bits select a slot there,
probed linearly. A full segment is split alone, so growth never pauses for more than one segment's entries (about 20 us)
plus, once per doubling of the table, a copy of the directory (8 bytes per segment). Deletion moves later entries of a
run back, so there are no tombstones and the table is as fast after a million deletes as before.

Fagin, Nievergelt, Pippenger, Strong: Extendible Hashing (1979); linear probing with deletion: Knuth, TAOCP 3, 6.4, algorithm R.
"""

import numpy as np
from numba import njit

from statestore.layout import (
    DEPTH,
    DEPTH_MAX,
    DIRECTORY,
    ENTRIES,
    ENTRY_HASH,
    ENTRY_IDENT,
    ENTRY_KEY_HI,
    ENTRY_KEY_LO,
    ENTRY_WORDS,
    HASH_BITS,
    HEAP_BOTTOM,
    LINE_WORDS,
    ONE,
    SCRATCH_SEGMENT,
    SEGMENT_COUNT,
    SEGMENT_DEPTH,
    SEGMENT_ENTRIES,
    SEGMENT_ENTRIES_MAX,
    SEGMENT_MASK,
    SEGMENT_TOP,
    SEGMENT_WORDS,
    SPLITS,
    WORD_BYTES,
    ZERO,
)


@njit(cache=True, nogil=True)
def segment_of(words, hashed):
    """Word offset of the segment for a hash."""
    return words[words[DIRECTORY] + ((hashed >> ONE) >> (HASH_BITS - words[DEPTH]))]


@njit(cache=True, nogil=True)
def find(words, hashed, lo, hi, ident):
    """Word offset of the entry with exactly these key words, or 0.

    For a long key these are its block and digest, which name an entry that is already known, as an undo does.
    """
    first = segment_of(words, hashed) + LINE_WORDS
    slot = hashed & SEGMENT_MASK
    while True:
        entry = first + slot * ENTRY_WORDS
        if ((words[entry + ENTRY_KEY_LO] ^ lo) | (words[entry + ENTRY_KEY_HI] ^ hi) | (words[entry + ENTRY_IDENT] ^ ident)) == ZERO:
            return entry
        if words[entry + ENTRY_IDENT] == ZERO:
            return ZERO
        slot = (slot + ONE) & SEGMENT_MASK


@njit(cache=True, nogil=True)
def find_long(words, region, hashed, digest, ident, data, start, length):
    """Word offset of the entry whose key is `length` bytes of `data` from `start`, compared in full, or 0."""
    first = segment_of(words, hashed) + LINE_WORDS
    slot = hashed & SEGMENT_MASK
    while True:
        entry = first + slot * ENTRY_WORDS
        if words[entry + ENTRY_IDENT] == ZERO:
            return ZERO
        if words[entry + ENTRY_IDENT] == ident and words[entry + ENTRY_KEY_HI] == digest:
            key = words[entry + ENTRY_KEY_LO] * WORD_BYTES
            k = ZERO
            while k < length and region[key + k] == data[start + k]:
                k += ONE
            if k == length:
                return entry
        slot = (slot + ONE) & SEGMENT_MASK


@njit(cache=True, nogil=True)
def place(words, segment, hashed):
    """Word offset of the first empty slot for a hash in a segment that has one."""
    first = segment + LINE_WORDS
    slot = hashed & SEGMENT_MASK
    while words[first + slot * ENTRY_WORDS + ENTRY_IDENT] != ZERO:
        slot = (slot + ONE) & SEGMENT_MASK
    return first + slot * ENTRY_WORDS


@njit(cache=True, nogil=True)
def insert(words, scratch, hashed, lo, hi, ident):
    """Word offset of a new entry for a key that is not in the table, its other words 0; or 0 where the arena is full."""
    segment = segment_of(words, hashed)
    while words[segment + SEGMENT_COUNT] >= SEGMENT_ENTRIES_MAX:
        if not split(words, scratch, hashed):
            return ZERO
        segment = segment_of(words, hashed)
    entry = place(words, segment, hashed)
    words[entry + ENTRY_KEY_LO] = lo
    words[entry + ENTRY_KEY_HI] = hi
    words[entry + ENTRY_IDENT] = ident
    words[entry + ENTRY_HASH] = hashed
    words[segment + SEGMENT_COUNT] += ONE
    words[ENTRIES] += ONE
    return entry


@njit(cache=True, nogil=True)
def remove(words, entry):
    """Removes an entry; entries behind it may move, so offsets found before are no longer good."""
    segment = segment_of(words, words[entry + ENTRY_HASH])
    first = segment + LINE_WORDS
    hole = (entry - first) // ENTRY_WORDS
    slot = hole
    while True:
        slot = (slot + ONE) & SEGMENT_MASK
        at = first + slot * ENTRY_WORDS
        if words[at + ENTRY_IDENT] == ZERO:
            break
        home = words[at + ENTRY_HASH] & SEGMENT_MASK
        # An entry may fill the hole unless its home lies behind the hole, counted around the ring.
        if ((slot - home) & SEGMENT_MASK) >= ((slot - hole) & SEGMENT_MASK):
            to = first + hole * ENTRY_WORDS
            for k in range(ENTRY_WORDS):
                words[to + k] = words[at + k]
            hole = slot
    empty = first + hole * ENTRY_WORDS
    for k in range(ENTRY_WORDS):
        words[empty + k] = ZERO
    words[segment + SEGMENT_COUNT] -= ONE
    words[ENTRIES] -= ONE


@njit(cache=True, nogil=True)
def split(words, scratch, hashed):
    """Splits the segment of a hash in two by its next hash bit; False where the arena or the directory is full."""
    old = segment_of(words, hashed)
    depth = words[old + SEGMENT_DEPTH]
    new = words[SEGMENT_TOP]
    if depth == words[DEPTH_MAX] or words[HEAP_BOTTOM] - new < SEGMENT_WORDS:
        return False
    if depth == words[DEPTH]:
        double_directory(words)
    words[SEGMENT_TOP] = new + SEGMENT_WORDS
    words[SPLITS] += ONE
    for k in range(SEGMENT_WORDS):
        scratch[SCRATCH_SEGMENT + k] = words[old + k]
        words[old + k] = ZERO
    words[old + SEGMENT_DEPTH] = depth + ONE
    words[new + SEGMENT_DEPTH] = depth + ONE
    # The words that named the old segment are a run of which the upper half now names the new one.
    run = ONE << (words[DEPTH] - depth)
    prefix = (hashed >> ONE) >> (HASH_BITS - words[DEPTH])
    middle = words[DIRECTORY] + (prefix & ~(run - ONE)) + (run >> ONE)
    for k in range(run >> ONE):
        words[middle + k] = new
    for slot in range(SEGMENT_ENTRIES):
        source = SCRATCH_SEGMENT + LINE_WORDS + slot * ENTRY_WORDS
        if scratch[source + ENTRY_IDENT] != ZERO:
            moved = scratch[source + ENTRY_HASH]
            segment = new if (moved >> (HASH_BITS - depth)) & ONE else old
            to = place(words, segment, moved)
            for k in range(ENTRY_WORDS):
                words[to + k] = scratch[source + k]
            words[segment + SEGMENT_COUNT] += ONE
    return True


@njit(cache=True, nogil=True)
def double_directory(words):
    """Selects by one hash bit more: every word is written twice, from the last to the first, in place."""
    directory = words[DIRECTORY]
    size = ONE << words[DEPTH]
    words[DEPTH] += ONE
    for k in range(size):
        word = words[directory + size - ONE - k]
        at = directory + (size - ONE - k) * np.uint64(2)
        words[at] = word
        words[at + ONE] = word
