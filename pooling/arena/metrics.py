"""Metrics of an arena, read from counters in its region that each holder keeps for itself."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pooling.arena.kernel import layout, recovery


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """The slots of one size class, or the runs."""

    slot_bytes: int
    """Size of a slot; 0 for runs of pages."""
    allocations: int
    """Since the arena was created."""
    lent: int
    """Lent now."""


@dataclass(frozen=True, slots=True)
class ArenaMetrics:
    """Counters since the arena was created, and what is in use now."""

    classes: tuple[ClassMetrics, ...]
    """Smallest slots first, runs last."""
    bytes_max: int
    slab_bytes: int
    """Bytes of slabs, lent or not."""
    run_bytes: int
    """Bytes of runs, lent or cached."""
    cached_bytes: int
    """Bytes that holders have cached: slots, which others cannot use, and runs, which others can take."""
    holders: int
    """Holders registered now."""
    refills: int
    flushes: int
    adopted: int
    """Slots returned or taken over by another holder than the one they were lent to."""
    refused: int
    """Allocations for which there was no room."""

    @property
    def allocations(self) -> int:
        """Allocations of all sizes since the arena was created."""
        return sum(size.allocations for size in self.classes)

    @property
    def lent(self) -> int:
        """Slots and runs that are lent now."""
        return sum(size.lent for size in self.classes)

    @property
    def free_bytes(self) -> int:
        """Bytes in neither slabs nor runs."""
        return self.bytes_max - self.slab_bytes - self.run_bytes


def read_metrics(words: NDArray[np.uint64]) -> ArenaMetrics:
    """Reads the counters of the arena in this region, uint64[:]."""
    counted = np.zeros(recovery.TOTALS, np.uint64)
    recovery.count_totals(words, counted)
    totals: list[int] = counted.tolist()
    classes = tuple(
        ClassMetrics(
            slot_bytes=layout.GRANULE_BYTES << size_class - 1 if size_class < layout.LARGE else 0,
            allocations=totals[recovery.ALLOCATIONS + size_class],
            lent=totals[size_class],
        )
        for size_class in range(1, layout.LARGE + 1)
    )
    return ArenaMetrics(
        classes=classes,
        bytes_max=int(words[layout.PAGES]) * layout.PAGE_BYTES,
        slab_bytes=totals[recovery.SLAB_PAGES] * layout.PAGE_BYTES,
        run_bytes=totals[recovery.RUN_PAGES] * layout.PAGE_BYTES,
        cached_bytes=totals[recovery.CACHED_BYTES],
        holders=totals[recovery.HOLDERS],
        refills=totals[recovery.REFILLS],
        flushes=totals[recovery.FLUSHES],
        adopted=totals[recovery.ADOPTED],
        refused=totals[recovery.REFUSED],
    )
