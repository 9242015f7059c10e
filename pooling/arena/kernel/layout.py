"""Where everything in an arena's region stands, in 64-bit words, and how slots are named and marked.

The heap is a row of 4 KiB *pages*, sixteen of which make a *unit*. A slab is a unit cut into slots of one size class;
what is larger than the largest class is a *run* of whole pages.

Everything that can be lent has one **mark**, a word that alone says whose it is: a slot's in the slot marks, a run's
(or a slab's) in the page mark of its first page. All other words merely help to find marks quickly.

::

    bit   63      62 .. 36           35 .. 32     31 .. 0
    mark   0    generation          size class    holder << 3 | state    (of a TAIL: first page << 3 | state)
    handle 0    generation          size class    offset in the heap, in 32-byte granules

The upper halves of a slot's mark and handle are equal as long as the handle is good, because every return raises the
generation. Handles are positive as int64, and never 0.

::

    region header | constants | hints | holders | maybe | bits | page marks | slot marks | heap
"""

from dataclasses import dataclass
from typing import Final

from txqueue.ring.layout import LINE_WORDS

# Size classes 1 to 10 are 32 B to 16 KiB in powers of two.
GRANULE_SHIFT: Final = 5
GRANULE_BYTES: Final = 1 << GRANULE_SHIFT
CLASS_BYTES_MAX: Final = 16 << 10
CLASSES: Final = 10
LARGE: Final = CLASSES + 1
"""The class of runs."""
PAGE_SHIFT: Final = 12
PAGE_BYTES: Final = 1 << PAGE_SHIFT
PAGE_WORDS: Final = PAGE_BYTES // 8
UNIT_PAGES: Final = 16
UNIT_SHIFT: Final = PAGE_SHIFT + 4
UNIT_BYTES: Final = 1 << UNIT_SHIFT
UNIT_WORDS: Final = UNIT_BYTES // 8
UNIT_GRANULES_SHIFT: Final = UNIT_SHIFT - GRANULE_SHIFT
UNIT_GRANULES: Final = 1 << UNIT_GRANULES_SHIFT
PAGE_GRANULES_SHIFT: Final = PAGE_SHIFT - GRANULE_SHIFT
assert GRANULE_BYTES << (CLASSES - 1) == CLASS_BYTES_MAX
assert UNIT_BYTES == UNIT_PAGES * PAGE_BYTES

# Handles and marks.
CLASS_SHIFT: Final = 32
CLASS_MASK: Final = 15
GENERATION: Final = 1 << 36
GENERATION_MASK: Final = (1 << 63) - GENERATION
STAMP_MASK: Final = (1 << 63) - (1 << CLASS_SHIFT)
"""Generation and size class."""
LOW_MASK: Final = (1 << CLASS_SHIFT) - 1
STATE_BITS: Final = 3
STATE_MASK: Final = (1 << STATE_BITS) - 1
HEAP_BYTES_MAX: Final = GRANULE_BYTES << 32

FREE: Final = 0
"""Nobody's, and to be had."""
CACHED: Final = 1
"""At hand for its holder: a slot in its magazine, a run among those it keeps."""
HELD: Final = 2
"""Lent to its holder."""
CLAIMED: Final = 3
"""The first page of a run that its holder is putting together or taking apart."""
TAIL: Final = 4
"""A further page of the run whose first page it names."""
SLAB: Final = 5
"""The first page of a slab: from here on its slots' marks count."""

# Constants: written by create(), then only read, so every processor keeps its own copy of the line.
CONSTANTS: Final = LINE_WORDS
HOLDERS: Final = CONSTANTS
PAGES: Final = CONSTANTS + 1
DEBUG: Final = CONSTANTS + 2
"""1 where slots have red zones and are poisoned."""
MAYBE_AT: Final = CONSTANTS + 3
BITS_AT: Final = CONSTANTS + 4
PAGE_MARKS_AT: Final = CONSTANTS + 5
SLOT_MARKS_AT: Final = CONSTANTS + 6
HEAP_AT: Final = CONSTANTS + 7

# Hints: any value is harmless, but for PAGES_USED.
_APART: Final = 2 * LINE_WORDS
RUN_HINT: Final = CONSTANTS + _APART
"""The page from which on the next run is looked for."""
SLAB_HINT: Final = RUN_HINT + 1
PAGES_USED: Final = RUN_HINT + 2
"""No page from this one on was ever claimed, so no loop needs to touch its marks. Only grows."""
HOLDERS_AT: Final = RUN_HINT + _APART

# A holder: one thread's part of the arena. Each has one writer.
OWNER: Final = 0
"""The process that holds this holder, or 0."""
REFILLS: Final = 1
FLUSHES: Final = 2
REFUSED: Final = 3
"""Allocations for which no room was left."""
ADOPTED: Final = 4
"""Slots taken over from other holders, by adoption or return."""
FAULT: Final = 5
"""The handle of the slot that debug mode found damaged last ..."""
FAULT_OWNER: Final = 6
"""... and the process that had returned it, or 0."""
RUN_TALLY: Final = LINE_WORDS
"""Runs allocated ever, above the number of runs at hand, whose entries follow: all of it is one line."""
RUNS_KEPT_MAX: Final = LINE_WORDS - 1
RUN_PAGES_KEPT_MAX: Final = 64
"""A larger run goes back at once."""
RUN_PAGES_MASK: Final = (1 << PAGE_GRANULES_SHIFT) - 1
"""Pages of the run, in an entry: bits that are 0 in the handle of a page."""
assert RUN_PAGES_KEPT_MAX <= RUN_PAGES_MASK
assert RUNS_KEPT_MAX * RUN_PAGES_KEPT_MAX * PAGE_BYTES <= 2 << 20, "bounds what a holder keeps"
MAGAZINES: Final = _APART

# A magazine: the slots of one size class that a holder has at hand, taken from and put to the end.
TALLY: Final = 0
"""Allocations ever, above the slots now in the magazine: both change with one store."""
TALLY_SHIFT: Final = 16
TALLY_MASK: Final = (1 << TALLY_SHIFT) - 1
CURSOR: Final = 1
"""The unit that the last refill drew from."""
LIMIT: Final = 2
"""Slots that it may hold; 0 until it is used. Grows for a holder that needs it."""
FLUSHED: Final = 3
"""1 where it overflowed since its last refill."""
ENTRIES: Final = LINE_WORDS
MAGAZINE_SLOTS_MAX: Final = 128
FIRST_LIMIT_BYTES: Final = 128 << 10
"""Bounds what a magazine of a large class keeps from others, as long as it does not grow."""
assert MAGAZINE_SLOTS_MAX * CLASS_BYTES_MAX <= 2 << 20, "bounds it for good"
MAGAZINE_WORDS: Final = ENTRIES + MAGAZINE_SLOTS_MAX
HOLDER_WORDS: Final = MAGAZINES + CLASSES * MAGAZINE_WORDS
assert HOLDER_WORDS % _APART == 0, "holders are two lines apart"

HOLDERS_MAX: Final = 1 << 16
HOLDERS_DEFAULT: Final = 320
BITS_PER_UNIT: Final = UNIT_GRANULES // 64
"""Words: a bit for each slot of a slab of the smallest class."""


@dataclass(frozen=True)
class ArenaLayout:
    """The parts of an arena's region whose place depends on its capacities.

    Args:
        bytes_max: of the heap, a multiple of a unit's 64 KiB.
        holders: threads that may use the arena at once.
    """

    bytes_max: int
    holders: int

    def __post_init__(self) -> None:
        if not UNIT_BYTES <= self.bytes_max <= HEAP_BYTES_MAX or self.bytes_max % UNIT_BYTES:
            raise ValueError(
                f"bytes_max must be a multiple of {UNIT_BYTES}, at most {HEAP_BYTES_MAX}; got {self.bytes_max}"
            )
        if not 1 <= self.holders <= HOLDERS_MAX:
            raise ValueError(f"holders must be 1 to {HOLDERS_MAX}; got {self.holders}")

    @property
    def units(self) -> int:
        """Units of the heap."""
        return self.bytes_max // UNIT_BYTES

    @property
    def maybe_at(self) -> int:
        """For each class a bit per unit: set where a slab of that class may have free slots."""
        return HOLDERS_AT + self.holders * HOLDER_WORDS

    @property
    def bits_at(self) -> int:
        """For each unit a bit per slot: set where the slot may be free."""
        return _page(self.maybe_at + CLASSES * maybe_words(self.units))

    @property
    def page_marks_at(self) -> int:
        """The pages' marks."""
        return _page(self.bits_at + self.units * BITS_PER_UNIT)

    @property
    def slot_marks_at(self) -> int:
        """The slots' marks: room for the smallest class in every unit, most of which is never touched."""
        return _page(self.page_marks_at + self.units * UNIT_PAGES)

    @property
    def heap_at(self) -> int:
        """The heap, on a huge page of the file."""
        huge_page_words = (2 << 20) // 8
        return -(-(self.slot_marks_at + self.units * UNIT_GRANULES) // huge_page_words) * huge_page_words

    @property
    def total_words(self) -> int:
        """The whole region."""
        return self.heap_at + self.bytes_max // 8


def maybe_words(units: int) -> int:
    """Words of one class's bits, in whole lines: classes share none."""
    return -(-units // 512) * LINE_WORDS


def _page(word: int) -> int:
    return -(-word // PAGE_WORDS) * PAGE_WORDS
