"""The layout descriptor of a ring's region: the offsets of all of its words, and why they stand where they do.

Words of different writers never share a cache line, and stand two lines apart, because processors fetch lines in pairs.
Words of one writer are grouped, whatever they mean.

::

    region header | constants | tail | consumer | parking | slots | producer controls | producer buffers

Positions count frames; offsets into a producer's buffer count words. Both only grow: modulo the number of slots, and
modulo the buffer's size, they give the place.
"""

from dataclasses import dataclass
from typing import Final

from penstock.contract.limits import BATCH_SIZE, FRAME_PAYLOAD_BYTES_MAX
from penstock.contract.record import RECORD_WORDS
from txqueue.jit.array_types import Int
from txqueue.region.cache_line import LINE_BYTES, LINE_PAIR_WORDS, LINE_SHIFT, LINE_WORDS, line_pair_from
from txqueue.region.process_identity import IDENTITY_BITS

# Constants: written by create(), then only read, so every processor keeps its own copy of the line.
CONSTANTS: Final = LINE_WORDS
SLOTS: Final = CONSTANTS
PRODUCERS: Final = CONSTANTS + 1
BUFFER_WORDS: Final = CONSTANTS + 2
SLOTS_AT: Final = CONSTANTS + 3
CONTROLS_AT: Final = CONSTANTS + 4
BUFFERS_AT: Final = CONSTANTS + 5
PROCESS_NAMESPACE: Final = CONSTANTS + 6
"""The namespaces in which the identities of processes mean something."""

# The tail: the position that the next frame gets. All producers compare-and-swap it, so it is alone.
TAIL: Final = CONSTANTS + LINE_PAIR_WORDS

# The consumer's words. Producers read the first one, when their copy of it says that the ring is full.
HEAD: Final = TAIL + LINE_PAIR_WORDS
"""``position << EPOCH_BITS | epoch``: the oldest frame not committed, and the consumer that may move this."""
CONSUMER: Final = HEAD + 1
"""``process << EPOCH_BITS | epoch``: the identity of the process that claimed last, or 0 once it resigned, and its
epoch. HEAD's epoch is this one, or one behind it until somebody raises it."""
BOUND: Final = HEAD + 2
"""Records that a batch may hold now."""
WAITS: Final = HEAD + 3
"""How often the consumer found nothing and waited."""
PARKS: Final = HEAD + 4
"""How often it went to sleep then."""
BATCH_SIZES: Final = HEAD + LINE_PAIR_WORDS
"""Batches by the bit length of their count of records."""
BATCH_SIZE_BUCKETS: Final = 16
DWELLS: Final = BATCH_SIZES + BATCH_SIZE_BUCKETS
"""Stamped frames by the bit length of the ticks between their claim and their commit."""
DWELL_BUCKETS: Final = 48

# Parking: read by producers after every publication, written only when the consumer goes to sleep or is woken.
PARKED: Final = DWELLS + DWELL_BUCKETS + LINE_WORDS
"""While a consumer sleeps on this word, ``AWAKE + 1 +`` its epoch; AWAKE else."""
AWAKE: Final = 0
INTERRUPTS: Final = PARKED + 1
"""How often somebody asked the consumer to return from its wait."""
PRODUCERS_USED: Final = PARKED + 2
"""Producers from this index on were never registered: no loop needs to look at them."""

FIXED_WORDS: Final = PARKED + LINE_PAIR_WORDS

# A producer's control block. First what the producer writes ...
OWNER: Final = 0
"""The identity of the process that holds this producer, or 0."""
WRITE: Final = 1
"""The offset in its buffer from which the next frame may begin."""
CLAIM: Final = 2
"""The offset where the claimed frame ends; WRITE where none is claimed."""
HEAD_CACHE: Final = 3
"""The producer's last copy of HEAD's position."""
PUBLISHED_RECORDS: Final = 4
PUBLISHED_PAYLOAD_BYTES: Final = 5
CLAIMS: Final = 6
"""Claims granted."""
REFUSED: Final = 7
"""Claims that found no room."""
RETRIES: Final = 8
"""Publications that had to try again, as another producer had filled the slot."""
PADDING: Final = 9
"""Words left unused at the buffer's end, as a frame never wraps."""
DEAD_CLAIMS: Final = 10
"""Claims that their process never published, as it died or left: counted when the producer is registered anew."""
# ... then what it writes seldom and the consumer reads with every frame ...
SKIP_FROM: Final = LINE_PAIR_WORDS
"""The offset from which the buffer continues at its front; set again only once OLDEST is beyond it."""
OLDEST: Final = SKIP_FROM + 1
"""The offset below which every frame was committed, and the producer may overwrite."""
# ... then what the consumer writes: hints and counts, which may lag behind the truth and never exceed it.
READ: Final = SKIP_FROM + LINE_PAIR_WORDS
"""The offset up to which the consumer committed. Lags behind where a consumer died: HEAD is what counts."""
CONSUMED_RECORDS: Final = READ + 1
CONSUMED_PAYLOAD_BYTES: Final = READ + 2
CONTROL_WORDS: Final = READ + LINE_PAIR_WORDS

# A frame in a buffer: this header, the records, the payloads padded to whole lines.
FRAME_SLOT: Final = 0
"""The word that announces the frame in its slot: it ties the two together."""
FRAME_COUNT: Final = 1
FRAME_PAYLOAD_BYTES: Final = 2
FRAME_TOKEN: Final = 3
FRAME_STAMP: Final = 4
"""When it was claimed, in ticks; 0 in most frames."""
RECORDS_BEFORE: Final = 5
"""What its producer had published before it: records, and bytes of payloads."""
PAYLOAD_BYTES_BEFORE: Final = 6
FRAME_HEADER_WORDS: Final = LINE_WORDS

EPOCH_BITS: Final = 64 - IDENTITY_BITS
EPOCH_MASK: Final = (1 << EPOCH_BITS) - 1

# A slot's word: the frame's position, which makes every word unique, and its producer.
PRODUCER_BITS: Final = 16
PRODUCERS_MAX: Final = 1 << PRODUCER_BITS

SLOTS_DEFAULT: Final = 4096
PRODUCERS_DEFAULT: Final = 320
BOUND_MIN: Final = 64


def frame_words(count: Int, payload_bytes: Int) -> Int:
    """Words that a frame takes of a buffer, in whole lines. Compiled in ``addressing.py``."""
    payload_lines = (payload_bytes + LINE_BYTES - 1) >> LINE_SHIFT
    return FRAME_HEADER_WORDS + count * RECORD_WORDS + payload_lines * LINE_WORDS


BUFFER_BYTES_DEFAULT: Final = 8 << 20
"""A power of two that holds the largest frame. Pages cost nothing before they are used."""
assert frame_words(BATCH_SIZE, FRAME_PAYLOAD_BYTES_MAX) * 8 <= BUFFER_BYTES_DEFAULT


@dataclass(frozen=True)
class RingLayout:
    """The parts of a ring's region that stand where its capacities put them.

    Args:
        slots: frames that may wait, a power of two; more than there are producers.
        producers: producers that may be registered at once.
        buffer_words: words of each producer's buffer, a power of two.
    """

    slots: int
    producers: int
    buffer_words: int

    def __post_init__(self) -> None:
        if self.slots < 2 or self.slots & (self.slots - 1):
            raise ValueError(f"slots must be a power of two, at least 2; got {self.slots}")
        if not 1 <= self.producers <= PRODUCERS_MAX:
            raise ValueError(f"producers must be 1 to {PRODUCERS_MAX}; got {self.producers}")
        if self.producers >= self.slots:
            raise ValueError(
                f"slots must exceed producers ({self.producers}): each may hold one claim; got {self.slots}"
            )
        if self.buffer_words < 2 * LINE_WORDS or self.buffer_words & (self.buffer_words - 1):
            raise ValueError(f"buffer_bytes must be a power of two, at least 128; got {self.buffer_words * 8}")

    @property
    def slots_at(self) -> int:
        """The first slot. Slots share lines, as they are written in turn anyway."""
        return FIXED_WORDS

    @property
    def controls_at(self) -> int:
        """The first producer's control block."""
        return line_pair_from(self.slots_at + self.slots)

    @property
    def buffers_at(self) -> int:
        """The first producer's buffer, on a page."""
        return _page_from(self.controls_at + self.producers * CONTROL_WORDS)

    @property
    def total_words(self) -> int:
        """Words of the whole region."""
        return self.buffers_at + self.producers * self.buffer_words


def _page_from(word: int) -> int:
    return -(-word // 512) * 512
