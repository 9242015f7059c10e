"""Hash table of entries: extendible hashing over buckets with an index of tags.

A key's leading hash bits select a word of the directory, which names a bucket. A bucket packs up to 1,023 entries of
one cache line each, and has an index of 32-bit tags in groups of 16, a cache line each; the trailing hash bits select a
group. A tag holds 21 bits of the hash and the entry's number, so a lookup compares a whole group with a few vector
instructions and goes to one entry: two cache lines and no branch that depends on the key. (Linear probing over the
entries themselves, tried first, cost 9 ns more per transfer, in mispredicted branches.) Where a group is full its tags
spill over into the next one.

A full bucket is split alone, so growth never pauses for more than one bucket's entries (30 us), plus once per
doubling of the table a copy of the directory (8 bytes per bucket). Where a split would separate nothing, or the
directory can select by no more bits, the bucket gets another one chained to it instead: with the hashes keyed that is
for chance alone to bring about, and then costs time but never room. Either way an insert takes one bucket at most.
Deletion leaves no tombstones.

Fagin, Nievergelt, Pippenger, Strong: Extendible Hashing (1979). Tags in groups: Abseil's Swiss tables.
"""

from typing import Any

from numba import extending

from statestore.kernel.invariants import is_bucket, is_entry, is_heap_block
from statestore.kernel.kernel_types import Bucket, Entry, Hash, HeapBlock, InlineKey, LongKey, State
from statestore.kernel.layout import (
    BUCKET_COUNT,
    BUCKET_DEPTH,
    BUCKET_ENTRIES_MAX,
    BUCKET_INDEX,
    BUCKET_NEXT,
    BUCKET_WORDS,
    BUCKETS_END,
    DIRECTORY,
    DIRECTORY_DEPTH,
    DIRECTORY_DEPTH_MAX,
    ENTRY_COUNT,
    ENTRY_HASH,
    ENTRY_IDENTITY,
    ENTRY_KEY_BLOCK,
    ENTRY_KEY_HI,
    ENTRY_KEY_LO,
    ENTRY_WORDS,
    GROUP_MASK,
    GROUP_TAGS,
    GROUP_WORDS,
    HASH_BITS,
    HEAP_BOTTOM,
    IDENTITY_LENGTH_SHIFT,
    ONE,
    SCRATCH_BUCKET,
    TAG_HASH_MASK,
    TAG_HASH_SHIFT,
    TAG_NUMBER_MASK,
    TAG_USED,
    WORD_BYTES,
    ZERO,
)
from txqueue.jit.cpu import lowest_bit
from txqueue.jit.debug_build import UNCHECKED
from txqueue.jit.decorators import inner
from txqueue.jit.native_types import U32, U64, Words, u64_range
from txqueue.jit.raw_memory import as_bytes, as_half_words, match_below

TWO = U64(2)
TAG_NUMBERS = TAG_NUMBER_MASK + ONE
TAG_NUMBER_BITS = U64(10)
LAST_TAG = U64(1) << (GROUP_TAGS - ONE)
NO_BUCKET = Bucket(ZERO)
NO_ENTRY = Entry(ZERO)


@inner
def bucket_of(words: Words, hashed: Hash) -> Bucket:
    """The first bucket for a hash."""
    bucket = Bucket(words[words[DIRECTORY] + ((hashed >> ONE) >> (HASH_BITS - words[DIRECTORY_DEPTH]))])
    assert UNCHECKED or is_bucket(words, bucket), "the directory names no bucket"
    return bucket


@inner
def bucket_at(words: Words, directory: U64, shift: U64, hashed: Hash) -> Bucket:
    """As `bucket_of`, for a loop that has the directory and HASH_BITS - DIRECTORY_DEPTH in registers."""
    return Bucket(words[directory + ((hashed >> ONE) >> shift)])


@inner
def tag_of(hashed: Hash) -> U64:
    """The tag for a hash, with entry number 0."""
    return ((hashed >> TAG_HASH_SHIFT << TAG_NUMBER_BITS) & TAG_HASH_MASK) | TAG_USED


@inner
def group_in(bucket: Bucket, hashed: Hash) -> U64:
    """Word offset of the group of tags where a search for a hash begins."""
    return bucket + BUCKET_INDEX + (hashed & GROUP_MASK) * GROUP_WORDS


@inner
def candidate(words: Words, bucket: Bucket, hashed: Hash) -> Entry:
    """The entry that most likely has a hash, of any where there is none. Never branches on memory."""
    group = group_in(bucket, hashed)
    hits = match_below(words, group, tag_of(hashed), TAG_NUMBERS)
    tag = U64(as_half_words(words)[group * TWO + lowest_bit(hits | LAST_TAG)])
    return Entry(bucket + (tag & TAG_NUMBER_MASK) * ENTRY_WORDS)


@inner
def has_inline_key(words: Words, entry: Entry, key: InlineKey) -> bool:
    """Whether an entry has exactly these key words."""
    different = (words[entry + ENTRY_KEY_LO] ^ key.lo) | (words[entry + ENTRY_KEY_HI] ^ key.hi)
    return (different | (words[entry + ENTRY_IDENTITY] ^ key.identity)) == ZERO


@inner
def has_long_key(words: Words, entry: Entry, key: LongKey) -> bool:
    """Whether an entry has a key that lies elsewhere, compared in full."""
    if words[entry + ENTRY_HASH] != key.hashed or words[entry + ENTRY_IDENTITY] != key.identity:
        return False
    assert UNCHECKED or is_heap_block(words, HeapBlock(words[entry + ENTRY_KEY_BLOCK])), "a key lies outside the heap"
    region = as_bytes(words)
    first = words[entry + ENTRY_KEY_BLOCK] * WORD_BYTES
    length = key.identity >> IDENTITY_LENGTH_SHIFT
    k = ZERO
    while k < length and region[first + k] == key.data[key.start + k]:
        k += ONE
    return k == length


def has_key(words: Words, entry: Entry, key: InlineKey | LongKey) -> bool:
    """Whether an entry has a key: one of the two above, which the compiler chooses by the type of the key."""
    return has_long_key(words, entry, key) if isinstance(key, LongKey) else has_inline_key(words, entry, key)


@extending.overload(has_key, strict=False)
def _choose_has_key(_words: Any, _entry: Any, key: Any) -> Any:
    chosen: Any = has_long_key if key.instance_class is LongKey else has_inline_key
    return chosen.py_func


@inner
def find(words: Words, hashed: Hash, key: InlineKey | LongKey) -> Entry:
    """The entry with a key, or NO_ENTRY."""
    bucket = bucket_of(words, hashed)
    tags = as_half_words(words)
    while bucket != ZERO:
        number = hashed & GROUP_MASK
        spilled = True
        while spilled:
            group = bucket + BUCKET_INDEX + number * GROUP_WORDS
            hits = match_below(words, group, tag_of(hashed), TAG_NUMBERS)
            while hits != ZERO:
                tag = U64(tags[group * TWO + lowest_bit(hits)])
                entry = Entry(bucket + (tag & TAG_NUMBER_MASK) * ENTRY_WORDS)
                assert UNCHECKED or is_entry(words, entry), "a tag names no entry"
                if has_key(words, entry, key):
                    return entry
                hits &= hits - ONE
            spilled = match_below(words, group, ZERO, ONE) == ZERO
            number = (number + ONE) & GROUP_MASK
            assert UNCHECKED or number != hashed & GROUP_MASK, "a bucket's index is full"
        bucket = Bucket(words[bucket + BUCKET_NEXT])
    return NO_ENTRY


@inner
def append_entry(words: Words, bucket: Bucket, hashed: Hash) -> Entry:
    """A bucket's next entry, which the caller fills, entered into the index under a hash."""
    assert UNCHECKED or words[bucket + BUCKET_COUNT] < BUCKET_ENTRIES_MAX, "an entry is added to a full bucket"
    words[bucket + BUCKET_COUNT] += ONE
    entry = Entry(bucket + words[bucket + BUCKET_COUNT] * ENTRY_WORDS)
    assert UNCHECKED or words[entry + ENTRY_IDENTITY] == ZERO, "an entry is written over"
    number = hashed & GROUP_MASK
    while True:
        group = bucket + BUCKET_INDEX + number * GROUP_WORDS
        empty = match_below(words, group, ZERO, ONE)
        if empty != ZERO:
            tag = tag_of(hashed) | words[bucket + BUCKET_COUNT]
            as_half_words(words)[group * TWO + lowest_bit(empty)] = U32(tag)
            return entry
        number = (number + ONE) & GROUP_MASK
        assert UNCHECKED or number != hashed & GROUP_MASK, "a bucket's index is full"


@inner
def insert(state: State, hashed: Hash, key: InlineKey) -> Entry:
    """A new entry for a key that is not in the table, its other words 0; or NO_ENTRY without room."""
    words = state.words
    bucket = bucket_with_room(state, hashed)
    if bucket == ZERO:
        return NO_ENTRY
    entry = append_entry(words, bucket, hashed)
    words[entry + ENTRY_KEY_LO] = key.lo
    words[entry + ENTRY_KEY_HI] = key.hi
    words[entry + ENTRY_IDENTITY] = key.identity
    words[entry + ENTRY_HASH] = hashed
    words[ENTRY_COUNT] += ONE
    return entry


@inner
def bucket_with_room(state: State, hashed: Hash) -> Bucket:
    """A bucket that takes another entry with a hash, made where there is none; NO_BUCKET without room."""
    words = state.words
    first = bucket_of(words, hashed)
    bucket = first
    while words[bucket + BUCKET_COUNT] == BUCKET_ENTRIES_MAX:
        bucket = Bucket(words[bucket + BUCKET_NEXT])
        if bucket == ZERO:
            break
    if bucket != ZERO:
        return bucket
    new = Bucket(words[BUCKETS_END])
    assert UNCHECKED or new <= words[HEAP_BOTTOM], "buckets and heap overlap"
    if words[HEAP_BOTTOM] - new < BUCKET_WORDS:
        return NO_BUCKET
    words[BUCKETS_END] = new + BUCKET_WORDS
    if can_split(words, first, hashed):
        split(state, hashed, new)
        return bucket_of(words, hashed)
    words[new + BUCKET_NEXT] = words[first + BUCKET_NEXT]
    words[first + BUCKET_NEXT] = new
    return new


@inner
def can_split(words: Words, bucket: Bucket, hashed: Hash) -> bool:
    """Whether splitting a full bucket makes room for a hash: not all of its entries would go where the hash does."""
    depth = words[bucket + BUCKET_DEPTH]
    if depth == words[DIRECTORY_DEPTH_MAX] or words[bucket + BUCKET_NEXT] != ZERO:
        return False
    for number in u64_range(ONE, BUCKET_ENTRIES_MAX + ONE):
        different = words[bucket + number * ENTRY_WORDS + ENTRY_HASH] ^ hashed
        if (different >> (HASH_BITS - depth)) & ONE != ZERO:
            return True
    return False


@inner
def tag_position(words: Words, bucket: Bucket, entry: Entry) -> U64:
    """Where the tag of an entry lies, counted in tags from the start of the bucket's index."""
    hashed = Hash(words[entry + ENTRY_HASH])
    tag = tag_of(hashed) | ((entry - bucket) // ENTRY_WORDS)
    number = hashed & GROUP_MASK
    while True:
        hits = match_below(words, bucket + BUCKET_INDEX + number * GROUP_WORDS, tag, ONE)
        if hits != ZERO:
            return number * GROUP_TAGS + lowest_bit(hits)
        number = (number + ONE) & GROUP_MASK
        assert UNCHECKED or number != hashed & GROUP_MASK, "an entry has no tag"


@inner
def remove(words: Words, entry: Entry) -> None:
    """Removes an entry. The bucket's last entry takes its place, so offsets found before are no longer good."""
    assert UNCHECKED or is_entry(words, entry), "what is removed is no entry"
    assert UNCHECKED or words[ENTRY_COUNT] != ZERO, "an entry is removed that was not counted"
    bucket = bucket_of(words, Hash(words[entry + ENTRY_HASH]))
    while entry - bucket >= BUCKET_WORDS:  # unsigned: an entry that lies before a bucket is far behind it
        bucket = Bucket(words[bucket + BUCKET_NEXT])
        assert UNCHECKED or is_bucket(words, bucket), "an entry lies in no bucket for its hash"
    remove_tag(words, bucket, tag_position(words, bucket, entry))
    last = Entry(bucket + words[bucket + BUCKET_COUNT] * ENTRY_WORDS)
    if last != entry:
        tag = tag_of(Hash(words[last + ENTRY_HASH])) | ((entry - bucket) // ENTRY_WORDS)
        as_half_words(words)[(bucket + BUCKET_INDEX) * TWO + tag_position(words, bucket, last)] = U32(tag)
        for k in u64_range(ENTRY_WORDS):
            words[entry + k] = words[last + k]
    for k in u64_range(ENTRY_WORDS):
        words[last + k] = ZERO
    words[bucket + BUCKET_COUNT] -= ONE
    words[ENTRY_COUNT] -= ONE


@inner
def remove_tag(words: Words, bucket: Bucket, hole: U64) -> None:
    """Clears the tag at `hole`, and moves tags that had spilled over from full groups back to where they are found.

    The hole may be filled by any tag of a later group whose search passes the hole's group. No search goes beyond the
    first group that was not full, so neither does this. It ends: at most half of all tags are in use.
    """
    tags = as_half_words(words)
    index = (bucket + BUCKET_INDEX) * TWO
    hole_group = hole // GROUP_TAGS
    was_full = match_below(words, bucket + BUCKET_INDEX + hole_group * GROUP_WORDS, ZERO, ONE) == ZERO
    tags[index + hole] = U32(0)
    group = hole_group
    while was_full:
        group = (group + ONE) & GROUP_MASK
        was_full = match_below(words, bucket + BUCKET_INDEX + group * GROUP_WORDS, ZERO, ONE) == ZERO
        for k in u64_range(GROUP_TAGS):
            at = group * GROUP_TAGS + k
            tag = U64(tags[index + at])
            home = words[bucket + (tag & TAG_NUMBER_MASK) * ENTRY_WORDS + ENTRY_HASH] & GROUP_MASK
            if tag != ZERO and ((group - home) & GROUP_MASK) >= ((group - hole_group) & GROUP_MASK):
                tags[index + hole] = U32(tag)
                tags[index + at] = U32(0)
                hole = at
                hole_group = group
                break


@inner
def split(state: State, hashed: Hash, new: Bucket) -> None:
    """Splits the bucket of a hash by its next hash bit: entries that have it set move to `new`, an empty bucket."""
    words = state.words
    scratch = state.scratch
    old = bucket_of(words, hashed)
    depth = words[old + BUCKET_DEPTH]
    if depth == words[DIRECTORY_DEPTH]:
        double_directory(words)
    for k in u64_range(BUCKET_WORDS):
        scratch[SCRATCH_BUCKET + k] = words[old + k]
        words[old + k] = ZERO
    words[old + BUCKET_DEPTH] = depth + ONE
    words[new + BUCKET_DEPTH] = depth + ONE
    # The words that named the old bucket are a run of which the upper half now names the new one.
    run = ONE << (words[DIRECTORY_DEPTH] - depth)
    prefix = (hashed >> ONE) >> (HASH_BITS - words[DIRECTORY_DEPTH])
    middle = words[DIRECTORY] + (prefix & ~(run - ONE)) + (run >> ONE)
    for k in u64_range(run >> ONE):
        assert UNCHECKED or words[middle + k] == old, "a split takes words of the directory from another bucket"
        words[middle + k] = new
    for number in u64_range(ONE, scratch[SCRATCH_BUCKET + BUCKET_COUNT] + ONE):
        source = SCRATCH_BUCKET + number * ENTRY_WORDS
        moved = Hash(scratch[source + ENTRY_HASH])
        to = append_entry(words, new if (moved >> (HASH_BITS - depth)) & ONE != ZERO else old, moved)
        for k in u64_range(ENTRY_WORDS):
            words[to + k] = scratch[source + k]


@inner
def double_directory(words: Words) -> None:
    """Selects by one hash bit more: every word is written twice, from the last to the first, in place."""
    assert UNCHECKED or words[DIRECTORY_DEPTH] < words[DIRECTORY_DEPTH_MAX], "the directory outgrows its room"
    directory = words[DIRECTORY]
    size = ONE << words[DIRECTORY_DEPTH]
    words[DIRECTORY_DEPTH] += ONE
    for k in u64_range(size):
        word = words[directory + size - ONE - k]
        at = directory + (size - ONE - k) * TWO
        words[at] = word
        words[at + ONE] = word
