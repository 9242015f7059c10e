"""Where everything in a ring's region stands, in 64-bit words, and why.

Two words that different threads write never share a cache line, and stand two lines apart, because processors fetch
lines in pairs. Words of one writer are grouped, whatever they are about.

::

    region header | constants | tail | consumer | parking | slots | producer controls | areas
"""

from dataclasses import dataclass
from typing import Final

from penstock.contract.limits import BATCH_SIZE, FRAME_PAYLOAD_BYTES_MAX
from penstock.contract.record import RECORD_BYTES, RECORD_WORDS
from txqueue.region.process_identity import IDENTITY_BITS

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
PROCESS_NAMESPACE: Final = CONSTANTS + 6
"""In which namespaces the names of owners mean something."""

# The tail: the position that the next frame gets. All producers compare-and-swap it, so it is alone.
TAIL: Final = CONSTANTS + _APART

# The consumer's words. Producers read the first one, when their copy of it says that the ring is full.
HEAD: Final = TAIL + _APART
"""``position << EPOCH_BITS | epoch``: the oldest frame not handed on, and the consumer that may move this."""
CONSUMER: Final = HEAD + 1
"""``process << EPOCH_BITS | epoch``: the process that claimed last, or 0 once it resigned, and with which epoch. HEAD's
epoch is this one, or one behind it until somebody raises it."""
BOUND: Final = HEAD + 2
"""Records that a batch may hold now."""
WAITS: Final = HEAD + 3
"""How often the consumer found nothing and waited."""
PARKS: Final = HEAD + 4
"""How often it went to sleep for that."""
BATCH_SIZES: Final = HEAD + _APART
"""Batches by the bit length of their count of records."""
BATCH_SIZE_BUCKETS: Final = 16
DWELLS: Final = BATCH_SIZES + BATCH_SIZE_BUCKETS
"""Stamped frames by the bit length of the ticks between their publication and their handing on."""
DWELL_BUCKETS: Final = 48

# Parking: read by producers after every publication, written only when the consumer goes to sleep or is woken.
PARKED: Final = DWELLS + DWELL_BUCKETS + LINE_WORDS
"""While a consumer sleeps on this word, ``AWAKE + 1 +`` its epoch; AWAKE else."""
AWAKE: Final = 0
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
HEAD_SEEN: Final = 3
PUBLISHED_RECORDS: Final = 4
PUBLISHED_PAYLOAD_BYTES: Final = 5
CLAIMS: Final = 6
"""Claims granted."""
REFUSED: Final = 7
"""Claims that found no room."""
RETRIES: Final = 8
"""Publications that another producer overtook, each of which tried again."""
PADDING: Final = 9
"""Words left unused at the area's end, because a frame never wraps."""
DEAD_CLAIMS: Final = 10
"""Claims whose owner died or left before it published them: found when the producer's place was given to another."""
# ... then what it writes seldom and the consumer reads with every frame ...
SKIP_FROM: Final = _APART
"""From this position the area continues at its front; set again only once OLDEST is beyond it."""
OLDEST: Final = SKIP_FROM + 1
"""Below this, counted like WRITE, every frame was handed on, and the producer may overwrite."""
# ... then what the consumer writes: hints and counts, never more than what is so.
READ: Final = SKIP_FROM + _APART
"""What the consumer handed on, counted like WRITE. May lag behind, where a consumer died: HEAD is what counts."""
CONSUMED_RECORDS: Final = READ + 1
CONSUMED_PAYLOAD_BYTES: Final = READ + 2
CONTROL_WORDS: Final = READ + _APART

# A frame in an area: this header, the records, the payloads padded to whole lines.
FRAME_SLOT: Final = 0
"""The word that announces the frame in its slot; it ties the two together."""
FRAME_COUNT: Final = 1
FRAME_PAYLOAD_BYTES: Final = 2
FRAME_TOKEN: Final = 3
FRAME_STAMP: Final = 4
"""When it was claimed, in ticks; 0 in most frames."""
RECORDS_BEFORE: Final = 5
"""What its producer had published before it: records, and bytes of payloads."""
PAYLOAD_BYTES_BEFORE: Final = 6
FRAME_HEADER_WORDS: Final = LINE_WORDS

# What a consumer keeps to itself, in an array of its own process: a fenced consumer spoils nothing but this.
KEPT_EPOCH: Final = 0
"""The epoch of its claim, or NO_EPOCH."""
KEPT_INTERRUPTS: Final = 1
"""INTERRUPTS as it was when the last wait ended."""
KEPT_PARKED: Final = 2
"""What it stored into PARKED, or AWAKE."""
KEPT_BATCH: Final = 3
"""Number of the batch in the making."""
KEPT_SEEN: Final = 4
"""Records enqueued when the bound was last adapted."""
KEPT_PRODUCERS: Final = LINE_WORDS
# For each producer, what the batch in the making takes from it, to be made known once that is handed on.
KEPT_CURSOR: Final = 0
"""Where its next frame stands, counted like WRITE; but OLDEST where that is beyond it."""
KEPT_RECORDS: Final = 1
KEPT_PAYLOAD_BYTES: Final = 2
KEPT_NEXT: Final = 3
"""Links the producers that the batch draws from."""
KEPT_TOUCHED: Final = 4
"""Number of the batch that last drew from it."""
KEPT_WORDS: Final = LINE_WORDS

EPOCH_BITS: Final = 64 - IDENTITY_BITS
EPOCH_MASK: Final = (1 << EPOCH_BITS) - 1
NO_EPOCH: Final = 1 << EPOCH_BITS

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
