"""Where everything in a ring's region stands, in 64-bit words, and why.

Two words that different threads write never share a cache line, and stand two lines apart, because processors fetch
lines in pairs. Words of one writer are grouped, whatever they are about.

::

    region header | constants | tail | consumer | parking | slots | producer controls | areas
"""

from dataclasses import dataclass
from typing import Final

from txqueue.record import BATCH_SIZE, FRAME_PAYLOAD_BYTES_MAX, RECORD_BYTES, RECORD_WORDS

LINE_WORDS: Final = 8
_APART: Final = 2 * LINE_WORDS

# Constants: written by create(), then only read, so every processor keeps its own copy of the line.
CONSTANTS: Final = LINE_WORDS
SLOTS: Final = CONSTANTS
PRODUCERS: Final = CONSTANTS + 1
AREA_WORDS: Final = CONSTANTS + 2
SLOTS_AT: Final = CONSTANTS + 3
CONTROLS_AT: Final = CONSTANTS + 4
AREAS_AT: Final = CONSTANTS + 5

# The tail: the position that the next frame gets. All producers compare-and-swap it, so it is alone.
TAIL: Final = CONSTANTS + _APART

# The consumer's words. Producers read the first one, when their copy of it says that the ring is full.
HEAD: Final = TAIL + _APART
CONSUMER: Final = HEAD + 1
"""The process inside a dequeue, or 0."""
BOUND: Final = HEAD + 2
"""Records that a batch may hold now."""
SEEN: Final = HEAD + 3
"""Records enqueued when the bound was last adapted."""
BATCHES: Final = HEAD + 4
PARKS: Final = HEAD + 5
INTERRUPTS_SEEN: Final = HEAD + 6

# Parking: read by producers after every publication, written only when the consumer goes to sleep or is woken.
PARKED: Final = HEAD + _APART
"""1 while the consumer sleeps on this word, else 0."""
INTERRUPTS: Final = PARKED + 1
"""How often somebody asked the consumer to return from its wait."""
PRODUCERS_USED: Final = PARKED + 2
"""Producers from this index on were never registered, so no loop needs to look at them."""

FIXED_WORDS: Final = PARKED + _APART

# A producer's control block. First what the producer writes ...
OWNER: Final = 0
"""The process that holds this producer, or 0."""
WRITE: Final = 1
"""Where its area continues: a count of words that only grows; modulo the area it is the offset."""
CLAIM: Final = 2
"""Where the frame in the making ends, counted like WRITE; equal to it where none is claimed."""
READ_SEEN: Final = 3
"""Below this everything may be overwritten; seldom refreshed from READ, which is a cache miss."""
HEAD_SEEN: Final = 4
PUBLISHED_FRAMES: Final = 5
PUBLISHED_RECORDS: Final = 6
PUBLISHED_PAYLOAD_BYTES: Final = 7
REFUSED: Final = 8
"""Claims that found no room."""
RETRIES: Final = 9
"""Publications that another producer overtook, each of which tried again."""
# ... then what it writes seldom and the consumer reads with every frame ...
SKIP_FROM: Final = _APART
"""From this position the area continues at its front; set again only after the consumer has passed it."""
NO_SKIP: Final = (1 << 64) - 1
# ... then what the consumer writes.
READ: Final = SKIP_FROM + _APART
"""What the consumer handed on, counted like WRITE: the producer may overwrite what is below."""
CURSOR: Final = READ + 1
"""READ as it will be when the batch in the making is handed on."""
CONSUMED_FRAMES: Final = READ + 2
CONSUMED_RECORDS: Final = READ + 3
CONSUMED_PAYLOAD_BYTES: Final = READ + 4
NEXT: Final = READ + 5
"""Links the producers that the batch in the making draws from."""
CONTROL_WORDS: Final = READ + _APART

# A frame in an area: this header, the records, the payloads padded to whole lines.
FRAME_SLOT: Final = 0
"""The word that announces the frame in its slot; it ties the two together."""
FRAME_COUNT: Final = 1
FRAME_PAYLOAD_BYTES: Final = 2
FRAME_TOKEN: Final = 3
FRAME_HEADER_WORDS: Final = LINE_WORDS

# A slot's word: the frame's position, which makes every word unique, and its producer.
PRODUCER_BITS: Final = 16
PRODUCERS_MAX: Final = 1 << PRODUCER_BITS

SLOTS_DEFAULT: Final = 4096
PRODUCERS_DEFAULT: Final = 320
BOUND_MIN: Final = 64


def frame_words(count: int, payload_bytes: int) -> int:
    """Words that a frame of ``count`` records takes of an area."""
    payload_lines = (payload_bytes + RECORD_BYTES - 1) // RECORD_BYTES
    return FRAME_HEADER_WORDS + count * RECORD_WORDS + payload_lines * LINE_WORDS


AREA_BYTES_DEFAULT: Final = 8 << 20
"""A power of two that holds the largest frame; an area's pages cost nothing before they are used."""
assert frame_words(BATCH_SIZE, FRAME_PAYLOAD_BYTES_MAX) * 8 <= AREA_BYTES_DEFAULT


@dataclass(frozen=True)
class RingLayout:
    """The parts of a ring's region whose place depends on its capacities.

    Args:
        slots: frames that may wait, a power of two; more than there are producers.
        producers: producers that may be registered at once.
        area_words: words of each producer's area, a power of two.
    """

    slots: int
    producers: int
    area_words: int

    def __post_init__(self) -> None:
        if self.slots < 2 or self.slots & (self.slots - 1):
            raise ValueError(f"slots must be a power of two, at least 2; got {self.slots}")
        if not 1 <= self.producers <= PRODUCERS_MAX:
            raise ValueError(f"producers must be 1 to {PRODUCERS_MAX}; got {self.producers}")
        if self.producers >= self.slots:
            raise ValueError(
                f"slots must exceed producers ({self.producers}): each may hold one claim; got {self.slots}"
            )
        if self.area_words < 2 * LINE_WORDS or self.area_words & (self.area_words - 1):
            raise ValueError(f"area_bytes must be a power of two, at least 128; got {self.area_words * 8}")

    @property
    def slots_at(self) -> int:
        """The slots; neighbours share lines, as they are written in turn anyway."""
        return FIXED_WORDS

    @property
    def controls_at(self) -> int:
        """The producers' control blocks."""
        return _line_pair(self.slots_at + self.slots)

    @property
    def areas_at(self) -> int:
        """The producers' areas."""
        return _page(self.controls_at + self.producers * CONTROL_WORDS)

    @property
    def total_words(self) -> int:
        """The whole region."""
        return self.areas_at + self.producers * self.area_words


def _line_pair(word: int) -> int:
    return -(-word // _APART) * _APART


def _page(word: int) -> int:
    return -(-word // 512) * 512
