"""Looks at every mark, bit and magazine of an arena that nobody is using, and says where everything is."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pooling.arena.kernel import layout


@dataclass(frozen=True)
class Audit:
    """What an arena holds."""

    held: Counter[int]
    """Slots and runs by the holder they are lent to."""
    cached: Counter[int]
    free: Counter[int]
    """Slots by size class."""
    free_pages: int
    runs: int
    """Lent."""
    cached_runs: int


def audit(words: NDArray[np.uint64]) -> Audit:
    """Checks that everything is in exactly one place, and that all that is free can be found."""
    held: Counter[int] = Counter()
    cached: Counter[int] = Counter()
    free: Counter[int] = Counter()
    free_pages = runs = cached_runs = 0
    pages = int(words[layout.PAGES])
    marks = words[int(words[layout.PAGE_MARKS_AT]) :][:pages].tolist()
    at_hand = _magazines(words)
    runs_at_hand = _kept_runs(words)
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
            assert length == layout.UNIT_PAGES
            assert page % layout.UNIT_PAGES == 0
            size_class = _class(mark)
            states, holders, granules = _slab(words, page // layout.UNIT_PAGES, size_class)
            free[size_class] += int((states == layout.FREE).sum())
            held.update(holders[states == layout.HELD].tolist())
            for granule, holder in zip(
                granules[states == layout.CACHED].tolist(), holders[states == layout.CACHED].tolist(), strict=True
            ):
                assert at_hand.pop(granule) == holder, "a slot at hand is in its holder's magazine"
                cached[holder] += 1
        else:
            assert state in (layout.HELD, layout.CACHED), f"page {page} was left in state {state}"
            assert _class(mark) == layout.LARGE
            holder = (mark & layout.LOW_MASK) >> layout.STATE_BITS
            if state == layout.HELD:
                held[holder] += 1
                runs += 1
            else:
                handle = mark & layout.STAMP_MASK | page << layout.PAGE_GRANULES_SHIFT
                assert runs_at_hand.get(handle) == (holder, length), (
                    "its holder has a run at hand, and knows its length"
                )
                cached[holder] += 1
                cached_runs += 1
        page += length
    assert not at_hand, "magazines hold only what is marked as at hand"
    return Audit(held, cached, free, free_pages, runs, cached_runs)


def _class(mark: int) -> int:
    return mark >> layout.CLASS_SHIFT & layout.CLASS_MASK


def _slab(
    words: NDArray[np.uint64], unit: int, size_class: int
) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64]]:
    """States, holders and granules of a slab's slots; what is free must have its bits."""
    slots = layout.UNIT_GRANULES >> size_class - 1
    marks = words[int(words[layout.SLOT_MARKS_AT]) + unit * layout.UNIT_GRANULES :][:slots]
    assert (marks >> np.uint64(layout.CLASS_SHIFT) & np.uint64(layout.CLASS_MASK) == size_class).all()
    states = marks & np.uint64(layout.STATE_MASK)
    bit_words = words[int(words[layout.BITS_AT]) + unit * layout.BITS_PER_UNIT :][: layout.BITS_PER_UNIT]
    bits = np.unpackbits(bit_words.view(np.uint8), bitorder="little")
    np.testing.assert_array_equal(bits[:slots] == 1, states == layout.FREE, "a bit for what is free, and only for that")
    assert not bits[slots:].any()
    if (states == layout.FREE).any():
        maybe = int(words[layout.MAYBE_AT]) + (size_class - 1) * layout.maybe_words(int(words[layout.PAGES]) // 16)
        assert int(words[maybe + unit // 64]) >> unit % 64 & 1, "a slab with free slots can be found"
    holders = (marks & np.uint64(layout.LOW_MASK)) >> np.uint64(layout.STATE_BITS)
    granules = np.uint64(unit * layout.UNIT_GRANULES) + (np.arange(slots, dtype=np.uint64) << np.uint64(size_class - 1))
    return states, holders, granules


def _magazines(words: NDArray[np.uint64]) -> dict[int, int]:
    """The holder of each granule that is in a magazine."""
    at_hand: dict[int, int] = {}
    for holder in range(int(words[layout.HOLDERS])):
        for size_class in range(1, layout.LARGE):
            magazine = (
                layout.HOLDERS_AT
                + holder * layout.HOLDER_WORDS
                + layout.MAGAZINES
                + (size_class - 1) * layout.MAGAZINE_WORDS
            )
            count = int(words[magazine]) & layout.TALLY_MASK
            assert int(words[magazine + layout.LIMIT]) <= layout.MAGAZINE_SLOTS_MAX, "it has so many entries"
            assert count <= int(words[magazine + layout.LIMIT])
            for entry in words[magazine + layout.ENTRIES :][:count].tolist():
                assert _class(entry) == size_class
                assert entry & layout.LOW_MASK not in at_hand, "a slot is in one magazine"
                at_hand[entry & layout.LOW_MASK] = holder
    return at_hand


def _kept_runs(words: NDArray[np.uint64]) -> dict[int, tuple[int, int]]:
    """Holder and pages of each run that is said to be at hand, by its handle; those taken from their holders, too."""
    at_hand: dict[int, tuple[int, int]] = {}
    for holder in range(int(words[layout.HOLDERS])):
        tally_at = layout.HOLDERS_AT + holder * layout.HOLDER_WORDS + layout.RUN_TALLY
        count = int(words[tally_at]) & layout.TALLY_MASK
        assert count <= layout.RUNS_KEPT_MAX
        for entry in words[tally_at + 1 :][:count].tolist():
            handle, pages = entry & ~layout.RUN_PAGES_MASK, entry & layout.RUN_PAGES_MASK
            assert _class(handle) == layout.LARGE
            assert 1 <= pages <= layout.RUN_PAGES_KEPT_MAX
            assert handle not in at_hand, "a run is at hand once"
            at_hand[handle] = holder, pages
    return at_hand
