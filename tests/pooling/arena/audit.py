"""An audit of an arena that nobody is using: every mark, bit, magazine and cached run."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pooling.arena.kernel import layout


@dataclass(frozen=True)
class Audit:
    """What an arena holds."""

    lent: Counter[int]
    """Slots and runs by the holder that they are lent to."""
    cached: Counter[int]
    """Slots and runs by the holder that has them cached."""
    free: Counter[int]
    """Free slots of slabs by size class."""
    free_pages: int
    lent_runs: int
    cached_runs: int


def audit(words: NDArray[np.uint64]) -> Audit:
    """Checks that everything is in exactly one place, and that all that is free can be found."""
    lent: Counter[int] = Counter()
    cached: Counter[int] = Counter()
    free: Counter[int] = Counter()
    free_pages = lent_runs = cached_runs = 0
    pages = int(words[layout.PAGES])
    marks = words[int(words[layout.PAGE_MARKS_AT]) :][:pages].tolist()
    slots_in_magazines = _slots_in_magazines(words)
    packed_runs = _packed_runs(words)
    page = 0
    while page < pages:
        mark = marks[page]
        state = mark & layout.STATE_MASK
        length = 1
        while page + length < pages and marks[page + length] & layout.LOW_MASK == page << 3 | layout.TAIL:
            length += 1
        if state == layout.FREE:
            assert mark & layout.LOW_MASK == 0
            assert length == 1, "the tails of a free page"
            free_pages += 1
        elif state == layout.SLAB:
            assert length == layout.CHUNK_PAGES
            assert page % layout.CHUNK_PAGES == 0
            size_class = _class(mark)
            states, holders, granules = _slab(words, page // layout.CHUNK_PAGES, size_class)
            free[size_class] += int((states == layout.FREE).sum())
            lent.update(holders[states == layout.LENT].tolist())
            for granule, holder in zip(
                granules[states == layout.CACHED].tolist(), holders[states == layout.CACHED].tolist(), strict=True
            ):
                assert slots_in_magazines.pop(granule) == holder, "a cached slot is in its holder's magazine"
                cached[holder] += 1
        else:
            assert state in (layout.LENT, layout.CACHED), f"page {page} was left in state {state}"
            assert _class(mark) == layout.LARGE
            holder = (mark & layout.LOW_MASK) >> layout.STATE_BITS
            if state == layout.LENT:
                lent[holder] += 1
                lent_runs += 1
            else:
                handle = mark & layout.STAMP_MASK | page << layout.PAGE_GRANULES_SHIFT
                assert packed_runs.get(handle) == (holder, length), (
                    "its holder has the run cached, and knows its length"
                )
                cached[holder] += 1
                cached_runs += 1
        page += length
    assert not slots_in_magazines, "magazines have only what is marked as cached"
    return Audit(lent, cached, free, free_pages, lent_runs, cached_runs)


def _class(mark: int) -> int:
    return mark >> layout.CLASS_SHIFT & layout.CLASS_MASK


def _slab(
    words: NDArray[np.uint64], chunk: int, size_class: int
) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64]]:
    """States, holders and granules of a slab's slots; what is free must have its bits."""
    slots = layout.CHUNK_GRANULES >> size_class - 1
    marks = words[int(words[layout.SLOT_MARKS_AT]) + chunk * layout.CHUNK_GRANULES :][:slots]
    assert (marks >> np.uint64(layout.CLASS_SHIFT) & np.uint64(layout.CLASS_MASK) == size_class).all()
    states = marks & np.uint64(layout.STATE_MASK)
    bit_words = words[int(words[layout.FREE_BITS_AT]) + chunk * layout.FREE_WORDS_PER_CHUNK :][
        : layout.FREE_WORDS_PER_CHUNK
    ]
    bits = np.unpackbits(bit_words.view(np.uint8), bitorder="little")
    np.testing.assert_array_equal(bits[:slots] == 1, states == layout.FREE, "a bit for what is free, and only for that")
    assert not bits[slots:].any()
    if (states == layout.FREE).any():
        candidates = int(words[layout.CANDIDATES_AT]) + (size_class - 1) * layout.candidate_words(
            int(words[layout.PAGES]) // 16
        )
        assert int(words[candidates + chunk // 64]) >> chunk % 64 & 1, "a slab with free slots can be found"
    holders = (marks & np.uint64(layout.LOW_MASK)) >> np.uint64(layout.STATE_BITS)
    granules = np.uint64(chunk * layout.CHUNK_GRANULES) + (
        np.arange(slots, dtype=np.uint64) << np.uint64(size_class - 1)
    )
    return states, holders, granules


def _slots_in_magazines(words: NDArray[np.uint64]) -> dict[int, int]:
    """The holder of each granule that is in a magazine."""
    cached: dict[int, int] = {}
    for holder in range(int(words[layout.HOLDERS])):
        for size_class in range(1, layout.LARGE):
            magazine = (
                layout.HOLDERS_AT
                + holder * layout.HOLDER_WORDS
                + layout.MAGAZINES
                + (size_class - 1) * layout.MAGAZINE_WORDS
            )
            count = int(words[magazine]) & layout.TALLY_MASK
            assert int(words[magazine + layout.LIMIT]) <= layout.MAGAZINE_SLOTS_MAX, "it has room for so many"
            assert count <= int(words[magazine + layout.LIMIT])
            for handle in words[magazine + layout.HANDLES :][:count].tolist():
                assert _class(handle) == size_class
                assert handle & layout.LOW_MASK not in cached, "a slot is in one magazine"
                cached[handle & layout.LOW_MASK] = holder
    return cached


def _packed_runs(words: NDArray[np.uint64]) -> dict[int, tuple[int, int]]:
    """Holder and number of pages of each packed run by its handle, void ones included."""
    cached: dict[int, tuple[int, int]] = {}
    for holder in range(int(words[layout.HOLDERS])):
        tally_at = layout.HOLDERS_AT + holder * layout.HOLDER_WORDS + layout.RUN_TALLY
        count = int(words[tally_at]) & layout.TALLY_MASK
        assert count <= layout.RUNS_CACHED_MAX
        for packed in words[tally_at + 1 :][:count].tolist():
            handle, pages = packed & ~layout.RUN_PAGES_MASK, packed & layout.RUN_PAGES_MASK
            assert _class(handle) == layout.LARGE
            assert 1 <= pages <= layout.RUN_PAGES_CACHED_MAX
            assert handle not in cached, "a run is cached once"
            cached[handle] = holder, pages
    return cached
