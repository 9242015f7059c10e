"""A histogram of garbage collection pauses, log-linear: four buckets for each power of two nanoseconds."""

from dataclasses import dataclass
from typing import Final

_SUB_BUCKET_BITS: Final = 2
_SUB_BUCKETS: Final = 1 << _SUB_BUCKET_BITS
_BUCKETS: Final = 64 * _SUB_BUCKETS


@dataclass(frozen=True, slots=True)
class PauseStatistics:
    """Statistics of all pauses counted; times in nanoseconds, percentiles at most a quarter too high."""

    count: int
    sum_ns: int
    p50_ns: int
    p99_ns: int
    p999_ns: int
    max_ns: int


class GcPauses:
    """Counts pauses. One thread adds at a time, as collections never overlap; any thread may read."""

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self._sum_ns = 0
        self._max_ns = 0

    def add(self, pause_ns: int) -> None:
        """Count a pause."""
        assert pause_ns >= 0
        self._counts[_bucket(pause_ns)] += 1
        self._sum_ns += pause_ns
        self._max_ns = max(self._max_ns, pause_ns)

    def read(self) -> PauseStatistics:
        """Give the statistics of what was counted."""
        counts = tuple(self._counts)
        p50_ns, p99_ns, p999_ns = (min(_percentile(counts, share), self._max_ns) for share in (0.5, 0.99, 0.999))
        return PauseStatistics(sum(counts), self._sum_ns, p50_ns, p99_ns, p999_ns, self._max_ns)


def _bucket(value: int) -> int:
    if value < _SUB_BUCKETS:
        return value
    shift = value.bit_length() - _SUB_BUCKET_BITS - 1
    return (shift + 1) * _SUB_BUCKETS + (value >> shift) - _SUB_BUCKETS


def _upper_bound(bucket: int) -> int:
    if bucket < _SUB_BUCKETS:
        return bucket
    shift, sub_bucket = divmod(bucket, _SUB_BUCKETS)
    return ((sub_bucket + _SUB_BUCKETS + 1) << (shift - 1)) - 1


def _percentile(counts: tuple[int, ...], share: float) -> int:
    """Give the upper bound of the bucket in which this share of all pauses is reached; 0 where there was none."""
    wanted = share * sum(counts)
    seen = 0
    for bucket, count in enumerate(counts):
        seen += count
        if count and seen >= wanted:
            return _upper_bound(bucket)
    return 0
