"""A histogram with bounds that double: what a ring counts by bit length."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of samples by size.

    Attributes:
        bounds: ascending, each twice the one before.
        counts: ``counts[i]`` samples since the queue was created were at most ``bounds[i]``, and above the bound
        before.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]

    @property
    def total(self) -> int:
        """How many samples there were."""
        return sum(self.counts)

    def quantile(self, share: float) -> float:
        """A bound that at least this share of the samples, 0 to 1, did not exceed; 0 where there were none."""
        wanted = share * self.total
        reached = 0
        for bound, count in zip(self.bounds, self.counts, strict=True):
            reached += count
            if count and reached >= wanted:
                return bound
        return 0.0

    def at_most(self, bound: float) -> int:
        """How many samples are known to have been at most this."""
        return sum(count for upper, count in zip(self.bounds, self.counts, strict=True) if upper <= bound)
