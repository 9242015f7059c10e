"""How much records may grow the arena: what admission keeps free, so that a committed block always fits.

Values and long keys grow it by what they hold, rounded up to a block of the heap. Entries grow it by whole buckets. An
insert takes one bucket at most, where it meets a full one. No key can be aimed at a bucket, as the hashes are keyed,
so entries per bucket are spread as a Poisson distribution is, and at the worst moment, when the mean bucket is about
to be full, one in 80 is exactly full: 1 / sqrt(2 pi 1,023). Allowed for are twice as many and 20 buckets on top, which
any number of records exceeds with a probability below 1e-12 even at that moment.

Which buckets are full differs with the secret of the hashes, so a log that just fitted one process could be too long
for the next one. For this the arena has a reserve beyond what admission counts on. It is address space until used.
"""

import math
from fractions import Fraction
from typing import Final

from statestore.kernel.layout import BUCKET_WORDS, HEAP_UNIT_BYTES

BUCKET_BYTES: Final = 8 * int(BUCKET_WORDS)
GROWTH_BYTES_FIXED: Final = 20 * BUCKET_BYTES
"""On top of what any number of records may take, once."""
GROWTH_BYTES_PER_RECORD_MAX: Final = BUCKET_BYTES // 40 + 2 * (5 * int(HEAP_UNIT_BYTES) // 4) + 1
"""An entry's share of buckets, and a key and a value that each begin one more unit of the heap."""
GROWTH_PER_PAYLOAD_BYTE: Final = Fraction(5, 4)
"""A block of the heap is at most a quarter larger than the units it holds, see `heap.size_class`."""


def growth_bytes_max(records: int, payload_bytes: int) -> int:
    """Most that `records` with `payload_bytes` of payload together grow the arena, in one block or in many."""
    per_payload = math.ceil(payload_bytes * GROWTH_PER_PAYLOAD_BYTE)
    return GROWTH_BYTES_FIXED + records * GROWTH_BYTES_PER_RECORD_MAX + per_payload


def reserve_bytes(bytes_max: int) -> int:
    """What an arena of `bytes_max` has beyond it.

    Each of n buckets is split once more or not, by chance, so the numbers of two processes differ by a standard
    deviation of at most sqrt(n / 2); allowed for are eight of these, and 16 buckets.
    """
    buckets = bytes_max // BUCKET_BYTES
    return (16 + math.isqrt(8 * 8 * buckets // 2)) * BUCKET_BYTES
