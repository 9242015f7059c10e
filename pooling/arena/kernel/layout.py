"""The layout descriptor of an arena's region: offsets in 64-bit words, and the bits of handles and marks.

The heap is a row of 4 KiB *pages*, sixteen of which make a *chunk*. A *slab* is a chunk cut into slots of one size
class; what is larger than the largest class is a *run* of whole pages.

Everything that can be lent has one **mark**, a word that alone says whose it is: a slot's is among the slot marks, a
run's (or a slab's) is the page mark of its first page. All other words only help to find marks quickly.

::

    bit   63      62 .. 36           35 .. 32     31 .. 0
    mark   0    generation          size class    holder << 3 | state    (of a TAIL: first page << 3 | state)
    handle 0    generation          size class    offset in the heap, in 32-byte granules

Generation and size class together are the *stamp*. The stamps of a slot's mark and handle are equal as long as the
handle is good, because every return raises the generation. Handles are positive as int64, and never 0.

The region, part after part::

    offset             words                      part
    0                  8                          the region's own header (txqueue/region)
    CONSTANTS          8, then 8 unused           capacities and the offsets of the parts below
    RUN_HINT           3, then 13 unused          hints of where to look for free pages
    HOLDERS_AT         HOLDER_WORDS each          holders: owner, counters, cached runs, one magazine per size class
    CANDIDATES_AT      candidate_words() each     for each size class a bit per chunk: its slab may have free slots
    FREE_BITS_AT       FREE_WORDS_PER_CHUNK each  for each chunk a bit per slot: it may be free
    PAGE_MARKS_AT      1 each                     the pages' marks
    SLOT_MARKS_AT      CHUNK_GRANULES each        for each chunk its slots' marks
    HEAP_AT            512 each                   pages

Words that different threads write often stand two cache lines apart, because processors fetch lines in pairs.
"""

from dataclasses import dataclass
from typing import Final

from txqueue.region.cache_line import LINE_WORDS

_APART: Final = 2 * LINE_WORDS

# --- sizes ------------------------------------------------------------------------------------------------------------
# Size classes 1 to 10 are slots of 32 B to 16 KiB, in powers of two. A slab of the largest has four slots.
GRANULE_SHIFT: Final = 5
GRANULE_BYTES: Final = 1 << GRANULE_SHIFT
GRANULE_WORDS: Final = GRANULE_BYTES // 8
CLASS_BYTES_MAX: Final = 16 << 10
CLASSES: Final = 10
LARGE: Final = CLASSES + 1
"""The class of runs."""
PAGE_SHIFT: Final = 12
PAGE_BYTES: Final = 1 << PAGE_SHIFT
PAGE_WORDS: Final = PAGE_BYTES // 8
PAGE_GRANULES_SHIFT: Final = PAGE_SHIFT - GRANULE_SHIFT
CHUNK_PAGES_SHIFT: Final = 4
CHUNK_PAGES: Final = 1 << CHUNK_PAGES_SHIFT
CHUNK_SHIFT: Final = PAGE_SHIFT + CHUNK_PAGES_SHIFT
CHUNK_BYTES: Final = 1 << CHUNK_SHIFT
CHUNK_GRANULES_SHIFT: Final = CHUNK_SHIFT - GRANULE_SHIFT
CHUNK_GRANULES: Final = 1 << CHUNK_GRANULES_SHIFT
assert GRANULE_BYTES << (CLASSES - 1) == CLASS_BYTES_MAX
assert CHUNK_BYTES == CHUNK_PAGES * PAGE_BYTES

# --- handles and marks ------------------------------------------------------------------------------------------------
CLASS_SHIFT: Final = 32
CLASS_MASK: Final = 15
GENERATION: Final = 1 << 36
"""One generation."""
GENERATION_MASK: Final = (1 << 63) - GENERATION
STAMP_MASK: Final = (1 << 63) - (1 << CLASS_SHIFT)
LOW_MASK: Final = (1 << CLASS_SHIFT) - 1
"""Everything below the stamp."""
STATE_BITS: Final = 3
STATE_MASK: Final = (1 << STATE_BITS) - 1
HEAP_BYTES_MAX: Final = GRANULE_BYTES << CLASS_SHIFT
assert LARGE <= CLASS_MASK

# States of a mark.
FREE: Final = 0
"""Nobody's, and to be had."""
CACHED: Final = 1
"""Cached by its holder: a slot in its magazine, a run among its cached runs."""
LENT: Final = 2
"""Lent to its holder."""
CLAIMED: Final = 3
"""The first page of a run that its holder is putting together or taking apart."""
TAIL: Final = 4
"""A further page of the run whose first page the mark names."""
SLAB: Final = 5
"""The first page of a slab: the marks of its slots count."""
assert SLAB <= STATE_MASK

# --- constants --------------------------------------------------------------------------------------------------------
# A line that is written when the arena is created and only read from then on, so every processor keeps a copy of it.
CONSTANTS: Final = LINE_WORDS
HOLDERS: Final = CONSTANTS
PAGES: Final = HOLDERS + 1
DEBUG: Final = PAGES + 1
"""1 where slots have red zones and returned ones are poisoned."""
CANDIDATES_AT: Final = DEBUG + 1
FREE_BITS_AT: Final = CANDIDATES_AT + 1
PAGE_MARKS_AT: Final = FREE_BITS_AT + 1
SLOT_MARKS_AT: Final = PAGE_MARKS_AT + 1
HEAP_AT: Final = SLOT_MARKS_AT + 1
assert HEAP_AT < CONSTANTS + LINE_WORDS, "the constants are one line"

# --- hints ------------------------------------------------------------------------------------------------------------
# A line apart from the constants, as it is written with every run and slab. Any value of a hint is harmless.
RUN_HINT: Final = CONSTANTS + _APART
"""The page at which the search for a run begins."""
SLAB_HINT: Final = RUN_HINT + 1
"""The page at which the search for a chunk begins."""
PAGES_USED: Final = SLAB_HINT + 1
"""No hint: no page from this one on was ever claimed, so no loop looks at their marks. It only grows."""

# --- holders ----------------------------------------------------------------------------------------------------------
# One thread's part of the arena. Only its owner writes it, so it starts two lines apart from the next one.
HOLDERS_AT: Final = RUN_HINT + _APART
# Its first line is written seldom: at registration, by the slow path, by debug mode.
OWNER: Final = 0
"""The process that the holder belongs to, or 0."""
REFILLS: Final = OWNER + 1
"""Magazines filled from slabs."""
FLUSHES: Final = REFILLS + 1
"""Magazines from which slots went back to slabs."""
REFUSED: Final = FLUSHES + 1
"""Allocations for which there was no room."""
ADOPTED: Final = REFUSED + 1
"""Slots taken over from other holders, by adoption or return."""
FAULT: Final = ADOPTED + 1
"""The handle of the slot that debug mode found damaged last."""
FAULT_OWNER: Final = FAULT + 1
"""The process that had returned that slot, or 0."""
assert FAULT_OWNER < LINE_WORDS
# Its second line is the cached runs: to lend or to return one touches no other line of the holder.
RUN_TALLY: Final = LINE_WORDS
"""Runs allocated ever << TALLY_SHIFT | number of cached runs, which follow as packed runs, last returned last."""
RUNS_CACHED_MAX: Final = LINE_WORDS - 1
RUN_PAGES_CACHED_MAX: Final = 64
"""A larger run goes back to the free pages at once."""
RUN_PAGES_MASK: Final = (1 << PAGE_GRANULES_SHIFT) - 1
"""A packed run is a handle with the run's number of pages in these bits, which are 0 in the handle of a page."""
assert RUN_PAGES_CACHED_MAX <= RUN_PAGES_MASK
assert RUNS_CACHED_MAX * RUN_PAGES_CACHED_MAX * PAGE_BYTES <= 2 << 20, "bounds what a holder caches"
# From its third line on it has a magazine for each size class.
MAGAZINES: Final = _APART

# --- magazines --------------------------------------------------------------------------------------------------------
# The slots of one size class that a holder has cached. Its first line is what lending and returning read and write.
TALLY: Final = 0
"""Allocations ever << TALLY_SHIFT | slots now in the magazine: both change with one store."""
TALLY_SHIFT: Final = 16
TALLY_MASK: Final = (1 << TALLY_SHIFT) - 1
CURSOR: Final = TALLY + 1
"""The chunk that the last refill drew from."""
LIMIT: Final = CURSOR + 1
"""Slots that it may cache; 0 until it is used. Grows by need (``magazines.py``)."""
OVERFLOWED: Final = LIMIT + 1
"""1 where it overflowed since its last refill."""
# From its second line on it has the handles that its slots will be lent by, last returned last.
HANDLES: Final = LINE_WORDS
MAGAZINE_SLOTS_MAX: Final = 128
MAGAZINE_WORDS: Final = HANDLES + MAGAZINE_SLOTS_MAX
INITIAL_LIMIT_BYTES: Final = 128 << 10
"""Bounds what a magazine of a large class keeps from other holders, until it grows."""
assert OVERFLOWED < LINE_WORDS
assert MAGAZINE_SLOTS_MAX <= TALLY_MASK
assert MAGAZINE_SLOTS_MAX * CLASS_BYTES_MAX <= 2 << 20, "bounds it for good"

HOLDER_WORDS: Final = MAGAZINES + CLASSES * MAGAZINE_WORDS
assert HOLDER_WORDS % _APART == 0, "holders are two lines apart"
HOLDERS_MAX: Final = 1 << 16
HOLDERS_DEFAULT: Final = 320

# --- free bits --------------------------------------------------------------------------------------------------------
FREE_WORDS_PER_CHUNK: Final = CHUNK_GRANULES // 64
"""Words for a bit per slot of a slab of the smallest class."""


@dataclass(frozen=True)
class ArenaLayout:
    """The offsets that depend on an arena's capacities, in words.

    Args:
        bytes_max: size of the heap, a multiple of a chunk's 64 KiB.
        holders: threads that may use the arena at once.

    Raises:
        ValueError: a capacity is out of its range.
    """

    bytes_max: int
    holders: int

    def __post_init__(self) -> None:
        if not CHUNK_BYTES <= self.bytes_max <= HEAP_BYTES_MAX or self.bytes_max % CHUNK_BYTES:
            raise ValueError(
                f"bytes_max must be a multiple of {CHUNK_BYTES}, at most {HEAP_BYTES_MAX}; got {self.bytes_max}"
            )
        if not 1 <= self.holders <= HOLDERS_MAX:
            raise ValueError(f"holders must be 1 to {HOLDERS_MAX}; got {self.holders}")

    @property
    def chunks(self) -> int:
        """Chunks of the heap."""
        return self.bytes_max // CHUNK_BYTES

    @property
    def candidates_at(self) -> int:
        """The candidate bits, class after class, right behind the holders."""
        return HOLDERS_AT + self.holders * HOLDER_WORDS

    @property
    def free_bits_at(self) -> int:
        """The free bits, chunk after chunk. They and all parts behind them start on a page of memory."""
        return _next_page(self.candidates_at + CLASSES * candidate_words(self.chunks))

    @property
    def page_marks_at(self) -> int:
        """The page marks."""
        return _next_page(self.free_bits_at + self.chunks * FREE_WORDS_PER_CHUNK)

    @property
    def slot_marks_at(self) -> int:
        """The slot marks: room for the smallest class in every chunk, most of which is never touched."""
        return _next_page(self.page_marks_at + self.chunks * CHUNK_PAGES)

    @property
    def heap_at(self) -> int:
        """The heap, on a huge page of the file, so that huge pages can lie under it."""
        huge_page_words = (2 << 20) // 8
        return -(-(self.slot_marks_at + self.chunks * CHUNK_GRANULES) // huge_page_words) * huge_page_words

    @property
    def total_words(self) -> int:
        """The size of the whole region."""
        return self.heap_at + self.bytes_max // 8


def candidate_words(chunks: int) -> int:
    """Words of one class's candidate bits, in whole lines, so that classes share none."""
    return -(-chunks // (64 * LINE_WORDS)) * LINE_WORDS


def _next_page(word: int) -> int:
    return -(-word // PAGE_WORDS) * PAGE_WORDS
