"""What an arena counts, all of it in its region, by whoever allocates, at no cost to anybody else."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pooling.arena.kernel import layout
from pooling.arena.kernel import recovery as places


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """Of the slots of one size class."""

    slot_bytes: int
    """0 for runs of pages."""
    allocations: int
    """Ever."""
    lent: int
    """Now."""


@dataclass(frozen=True, slots=True)
class ArenaMetrics:
    """An arena's counters since it was created, and what is in use now."""

    classes: tuple[ClassMetrics, ...]
    """Smallest first, runs last."""
    bytes_max: int
    slab_bytes: int
    """In slabs, lent or not."""
    run_bytes: int
    """In runs, lent or at hand."""
    cached_bytes: int
    """At hand for one thread each: slots, which are out of reach for others, and runs, which are not."""
    holders: int
    """Registered now."""
    refills: int
    flushes: int
    adopted: int
    """Slots returned or taken over by another holder than they were lent to."""
    refused: int
    """Allocations for which there was no room."""

    @property
    def allocations(self) -> int:
        """Of all sizes, ever."""
        return sum(size.allocations for size in self.classes)

    @property
    def lent(self) -> int:
        """Slots and runs that are lent now."""
        return sum(size.lent for size in self.classes)

    @property
    def free_bytes(self) -> int:
        """Not in slabs or runs."""
        return self.bytes_max - self.slab_bytes - self.run_bytes


def count(words: NDArray[np.uint64]) -> ArenaMetrics:
    """Reads the counters of the arena in this region, uint64[:]."""
    counted = np.zeros(places.TOTALS, np.uint64)
    places.total(words, counted)
    totals: list[int] = counted.tolist()
    classes = tuple(
        ClassMetrics(
            slot_bytes=layout.GRANULE_BYTES << size_class - 1 if size_class < layout.LARGE else 0,
            allocations=totals[places.ALLOCATIONS + size_class],
            lent=totals[size_class],
        )
        for size_class in range(1, layout.LARGE + 1)
    )
    return ArenaMetrics(
        classes=classes,
        bytes_max=int(words[layout.PAGES]) * layout.PAGE_BYTES,
        slab_bytes=totals[places.SLAB_PAGES] * layout.PAGE_BYTES,
        run_bytes=totals[places.RUN_PAGES] * layout.PAGE_BYTES,
        cached_bytes=totals[places.CACHED_BYTES],
        holders=totals[places.HOLDERS],
        refills=totals[places.REFILLS],
        flushes=totals[places.FLUSHES],
        adopted=totals[places.ADOPTED],
        refused=totals[places.REFUSED],
    )
