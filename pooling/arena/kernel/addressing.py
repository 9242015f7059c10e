"""Addressing within an arena's region for compiled code: word offsets, and the fields of handles and marks."""

import numpy as np

from pooling.arena.kernel import layout
from txqueue.jit.array_types import Int, Words
from txqueue.jit.atomics import cas, load_acquire, load_relaxed
from txqueue.jit.cpu import bit_length
from txqueue.jit.decorators import inner


@inner
def get(words: Words, index: Int) -> Int:
    """A word as int64."""
    return np.int64(load_relaxed(words, index))


@inner
def class_of(byte_count: Int) -> Int:
    """The smallest size class whose slots have so many bytes, or LARGE."""
    if byte_count > layout.CLASS_BYTES_MAX:
        return layout.LARGE
    return np.int64(bit_length(max(byte_count, layout.GRANULE_BYTES) - 1)) - (layout.GRANULE_SHIFT - 1)


@inner
def class_in(stamped: Int) -> Int:
    """The size class in a handle or a mark."""
    return (stamped >> layout.CLASS_SHIFT) & layout.CLASS_MASK


@inner
def next_stamp(stamped: Int) -> Int:
    """Generation and size class of a handle or mark, one generation on."""
    return (stamped + layout.GENERATION) & layout.STAMP_MASK


@inner
def mark(stamp: Int, holder: Int, state: Int) -> Int:
    """A mark with the stamp of a handle or another mark; ``holder`` is a TAIL's first page."""
    return (stamp & layout.STAMP_MASK) | holder << layout.STATE_BITS | state


@inner
def state_in(marked: Int) -> Int:
    """The state in a mark."""
    return marked & layout.STATE_MASK


@inner
def holder_in(marked: Int) -> Int:
    """The holder in a mark, or a TAIL's first page."""
    return (marked & layout.LOW_MASK) >> layout.STATE_BITS


@inner
def slots_of(size_class: Int) -> Int:
    """Slots of a slab of this class."""
    return layout.CHUNK_GRANULES >> (size_class - 1)


@inner
def slot_mark_of(words: Words, granule: Int, size_class: Int) -> Int:
    """Offset of the mark of a slab's slot, which begins at this granule."""
    chunk_marks = granule >> layout.CHUNK_GRANULES_SHIFT << layout.CHUNK_GRANULES_SHIFT
    slot = (granule & (layout.CHUNK_GRANULES - 1)) >> (size_class - 1)
    return get(words, layout.SLOT_MARKS_AT) + chunk_marks + slot


@inner
def page_mark_of(words: Words, page: Int) -> Int:
    """Offset of a page's mark."""
    return get(words, layout.PAGE_MARKS_AT) + page


@inner
def page_in(handle: Int) -> Int:
    """The first page of the run that a handle names."""
    return (handle & layout.LOW_MASK) >> layout.PAGE_GRANULES_SHIFT


@inner
def mark_of(words: Words, handle: Int) -> Int:
    """Offset of the mark that decides whether a handle is good; -1 where it names nothing in this arena."""
    granule = handle & layout.LOW_MASK
    size_class = class_in(handle)
    if handle < 0 or granule >> layout.PAGE_GRANULES_SHIFT >= get(words, layout.PAGES):
        return -1
    if 1 <= size_class < layout.LARGE:
        return slot_mark_of(words, granule, size_class)
    return page_mark_of(words, granule >> layout.PAGE_GRANULES_SHIFT) if size_class == layout.LARGE else -1


@inner
def holder_of(holder: Int) -> Int:
    """Offset of a holder."""
    return layout.HOLDERS_AT + holder * layout.HOLDER_WORDS


@inner
def magazine_of(holder: Int, size_class: Int) -> Int:
    """Offset of a holder's magazine of a class."""
    return holder_of(holder) + layout.MAGAZINES + (size_class - 1) * layout.MAGAZINE_WORDS


@inner
def initial_limit(size_class: Int) -> Int:
    """Slots that a magazine of a class may cache at first."""
    return min(layout.MAGAZINE_SLOTS_MAX, (layout.INITIAL_LIMIT_BYTES >> (layout.GRANULE_SHIFT - 1)) >> size_class)


@inner
def free_bits_of(words: Words, chunk: Int, slot: Int) -> Int:
    """Offset of the word with a slot's free bit, which is its bit ``slot & 63``."""
    return get(words, layout.FREE_BITS_AT) + chunk * layout.FREE_WORDS_PER_CHUNK + (slot >> 6)


@inner
def candidates_of(words: Words, size_class: Int, chunk: Int) -> Int:
    """Offset of the word with a chunk's candidate bit of a class, which is its bit ``chunk & 63``."""
    chunks = get(words, layout.PAGES) >> layout.CHUNK_PAGES_SHIFT
    class_words = ((chunks + 511) >> 9) << 3  # as `layout.candidate_words`
    return get(words, layout.CANDIDATES_AT) + (size_class - 1) * class_words + (chunk >> 6)


@inner
def set_bits(words: Words, index: Int, bits: Int) -> None:
    """Sets bits atomically. Sequentially consistent, like every compare-and-swap here."""
    while True:
        word = np.int64(load_acquire(words, index))
        if cas(words, index, word, word | bits):
            return


@inner
def clear_bits(words: Words, index: Int, bits: Int) -> None:
    """Clears bits atomically."""
    while True:
        word = np.int64(load_acquire(words, index))
        if cas(words, index, word, word & ~bits):
            return
