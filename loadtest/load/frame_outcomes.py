"""Outcomes of a load's frames: one row per frame, from which every figure is worked out afterwards."""

from typing import Final

import numpy as np
import numpy.typing as npt
from hdrh.histogram import HdrHistogram
from xxhash import xxh3_64_intdigest

ACCEPTED, REFUSED, UNKNOWN = 0, 1, 2
"""Outcomes of a frame: a receipt came; the node refused it; no answer came in time, so it may be in the log or not."""

FRAME_OUTCOME: Final = np.dtype(
    [
        ("frame", "<u8"),  # its number in its source, from 0
        ("count", "<u4"),  # transactions
        ("outcome", "u1"),
        ("first_due_ns", "<i8"),  # CLOCK_MONOTONIC, the same for all processes of a machine
        ("last_due_ns", "<i8"),
        ("sent_ns", "<i8"),
        ("received_ns", "<i8"),
        ("log_index", "<u8"),  # this and what follows only where accepted
        ("first_position", "<u8"),
        ("results_digest", "<u8"),  # XXH3-64 of the result bytes
        ("succeeded", "<u4"),  # results that are OK
    ]
)
FrameOutcomes = npt.NDArray[np.void]
"""``FRAME_OUTCOME[n]``"""

OK: Final = 1
_GROUPS: Final = 16
_LATENCY_US_MAX: Final = 3_600_000_000


def results_digest(results: npt.NDArray[np.uint8]) -> int:
    """Digest a frame's results, so that a run of minutes need not keep a byte for every transaction."""
    return xxh3_64_intdigest(results.data)


def latencies(frames: FrameOutcomes) -> HdrHistogram:
    """Histogram, in microseconds, of the time from each transaction's due time to its receipt.

    A transaction without a receipt counts with the time until it was given up: without those, the worst node would look
    best. The transactions of a frame were due one after the other; they are recorded in up to 16 groups, each with the
    latency of its first transaction, which waited longest.
    """
    histogram = HdrHistogram(1, _LATENCY_US_MAX, 3)
    for row in frames:
        count, received = int(row["count"]), int(row["received_ns"])
        first, last = int(row["first_due_ns"]), int(row["last_due_ns"])
        groups = min(_GROUPS, count) if last > first else 1
        for group in range(groups):
            begin, end = count * group // groups, count * (group + 1) // groups
            due = first + (last - first) * begin // count
            histogram.record_value(min(max((received - due) // 1000, 1), _LATENCY_US_MAX), end - begin)
    return histogram


def within(frames: FrameOutcomes, column: str, start_ns: int, end_ns: int) -> FrameOutcomes:
    """The rows whose time in ``column`` lies in the half-open window."""
    return frames[(frames[column] >= start_ns) & (frames[column] < end_ns)]
