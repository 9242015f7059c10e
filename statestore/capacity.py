"""Upper bound on the bytes by which records can grow the arena: what admission keeps free, so that every block fits.

Values and long keys grow the arena by what they hold, rounded up to a block of the heap. Entries grow it by whole
buckets: an insert takes one bucket at most, and only where it meets a full one. Hashes are keyed, so nobody can aim
keys at one bucket, and entries per bucket follow a Poisson distribution. At the worst moment, when the mean bucket is
about to be full, one bucket in 80 is exactly full: 1 / sqrt(2 pi 1,023). The bound allows for twice as many, and for 20
buckets on top: any number of records exceeds it with a probability below 1e-12, even at that moment.

Which buckets are full depends on the secret of the hashes. A log that just fitted one process could therefore be too
long for the next one, so the arena has a reserve that admission does not count on. Until it is used it is address space
only.
"""

import math
from fractions import Fraction
from typing import Final

from statestore.kernel.layout import BUCKET_WORDS, HEAP_UNIT_BYTES

BUCKET_BYTES: Final = 8 * int(BUCKET_WORDS)
GROWTH_BYTES_FIXED: Final = 20 * BUCKET_BYTES
"""Counted once, for any number of records."""
GROWTH_BYTES_PER_RECORD_MAX: Final = BUCKET_BYTES // 40 + 2 * (5 * int(HEAP_UNIT_BYTES) // 4) + 1
"""An entry's share of a bucket, and one more unit of the heap for each of its key and its value."""
GROWTH_PER_PAYLOAD_BYTE: Final = Fraction(5, 4)
"""A block of the heap is at most a quarter larger than the units it holds, see `heap.size_class`."""


def growth_bytes_max(records: int, payload_bytes: int) -> int:
    """The bound for `records` with `payload_bytes` of payload together, in one block or in many."""
    per_payload = math.ceil(payload_bytes * GROWTH_PER_PAYLOAD_BYTE)
    return GROWTH_BYTES_FIXED + records * GROWTH_BYTES_PER_RECORD_MAX + per_payload


def reserve_bytes(bytes_max: int) -> int:
    """Size of the reserve of an arena of `bytes_max`.

    Each of n buckets is split once more or not, by chance, so the numbers of two processes differ by a standard
    deviation of at most sqrt(n / 2); allowed for are eight of these, and 16 buckets.
    """
    buckets = bytes_max // BUCKET_BYTES
    return (16 + math.isqrt(8 * 8 * buckets // 2)) * BUCKET_BYTES
