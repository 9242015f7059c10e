"""Metrics of a queue, which any process that maps its region may read at any time, at no cost to the path."""

import functools
import threading
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from penstock.host.clock import SYSTEM_CLOCK
from txqueue.histogram import Histogram
from txqueue.jit.decorators import load
from txqueue.ring import counters, layout

_CALIBRATION_S: Final = 0.005

_BATCH_BOUNDS: Final = tuple(float((1 << bits) - 1) for bits in range(layout.BATCH_SIZE_BUCKETS))


@dataclass(frozen=True)
class QueueMetrics:
    """A queue's counters since it was created. Transactions unless the name says otherwise.

    Each is exact as long as nobody dies. Where a consumer dies just after it committed a batch, the histograms miss
    that batch, and ``dequeued`` misses it until the next frame of the same producer is taken.
    """

    enqueued: int
    dequeued: int
    size: int
    frames_enqueued: int
    frames_dequeued: int
    payload_bytes_enqueued: int
    payload_bytes_dequeued: int
    claims: int
    """Frames for which room was granted. Those beyond ``frames_enqueued`` were aborted, or are in the making."""
    refused: int
    """Frames that found no room: failed claims."""
    retries: int
    """Publications that had to try again, as another producer was faster."""
    dead_claims: int
    """Claims that dead processes never published, counted as their producers were registered anew."""
    padding_bytes: int
    """Left unused at the ends of producer buffers, as a frame never wraps."""
    batches: int
    waits: int
    """How often the consumer found nothing and waited."""
    parks: int
    """How often it went to sleep then."""
    batch_bound: int
    """Records that a batch holds at most now."""
    producers: int
    """Registered now."""
    batch_sizes: Histogram
    """Records of each batch."""
    dwell_s: Histogram
    """Seconds between a frame's claim and its commit; of one in 16 frames of a producer, and at most one in a batch."""


def read_metrics(words: NDArray[np.uint64]) -> QueueMetrics:
    """Reads the counters of a region. Any process may."""
    load(counters.total)
    totals = np.zeros(counters.TOTALS, np.uint64)
    counters.total(words, totals)
    total = totals.tolist()
    batch_sizes = Histogram(_BATCH_BOUNDS, _counts(words, layout.BATCH_SIZES, layout.BATCH_SIZE_BUCKETS))
    return QueueMetrics(
        enqueued=total[counters.ENQUEUED],
        dequeued=total[counters.DEQUEUED],
        size=total[counters.ENQUEUED] - total[counters.DEQUEUED],
        frames_enqueued=total[counters.FRAMES_ENQUEUED],
        frames_dequeued=total[counters.FRAMES_DEQUEUED],
        payload_bytes_enqueued=total[counters.PAYLOAD_BYTES_ENQUEUED],
        payload_bytes_dequeued=total[counters.PAYLOAD_BYTES_DEQUEUED],
        claims=total[counters.CLAIMS],
        refused=total[counters.REFUSED],
        retries=total[counters.RETRIES],
        dead_claims=total[counters.DEAD_CLAIMS],
        padding_bytes=total[counters.PADDING] * 8,
        producers=total[counters.PRODUCERS],
        batches=batch_sizes.total,
        waits=int(words[layout.WAITS]),
        parks=int(words[layout.PARKS]),
        batch_bound=int(words[layout.BOUND]),
        batch_sizes=batch_sizes,
        dwell_s=Histogram(_dwell_bounds_s(), _counts(words, layout.DWELLS, layout.DWELL_BUCKETS)),
    )


def _counts(words: NDArray[np.uint64], first: int, buckets: int) -> tuple[int, ...]:
    return tuple(words[first : first + buckets].tolist())


@functools.cache
def _dwell_bounds_s() -> tuple[float, ...]:
    """The bounds of the dwell buckets in seconds.

    The rate of ticks is the processor's: it is measured once in a process, against the system's clock.
    """
    totals = np.zeros(counters.TOTALS, np.uint64)
    nowhere = np.zeros(layout.FIXED_WORDS, np.uint64)

    def now() -> tuple[int, int]:
        counters.total(nowhere, totals)
        return int(totals[counters.TICKS]), SYSTEM_CLOCK.monotonic_ns()

    began, began_ns = now()
    SYSTEM_CLOCK.wait(threading.Event(), _CALIBRATION_S)
    ended, ended_ns = now()
    seconds_per_tick = (ended_ns - began_ns) * 1e-9 / max(1, ended - began)
    return tuple(((1 << bits) - 1) * seconds_per_tick for bits in range(layout.DWELL_BUCKETS))
