"""Distributions as a ring counts them: how many fell under each of some bounds, which double."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts by size.

    Attributes:
        bounds: ascending, each twice the one before; ``counts[i]`` were at most ``bounds[i]`` and above the one before.
        counts: since the queue was created.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]

    @property
    def total(self) -> int:
        """How many there were."""
        return sum(self.counts)

    def quantile(self, share: float) -> float:
        """A bound that at least this share of them, 0 to 1, did not exceed; 0 where there were none."""
        wanted = share * self.total
        reached = 0
        for bound, count in zip(self.bounds, self.counts, strict=True):
            reached += count
            if count and reached >= wanted:
                return bound
        return 0.0

    def at_most(self, bound: float) -> int:
        """How many are known to have been at most this."""
        return sum(count for upper, count in zip(self.bounds, self.counts, strict=True) if upper <= bound)
