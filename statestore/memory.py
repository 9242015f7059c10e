"""Memory of the state: zeros that only this process sees, with huge pages under what fills up densely.

A table of many megabytes is read at random: with pages of 4 KiB most reads miss the processor's table of translations,
too, and each page's first touch costs a fault. Huge pages save 3 of 36 ns per transfer between 100,000 accounts. Most
systems give them to a process's own memory that asks for them, but to shared memory only where somebody has turned that
on (``shmem_enabled``).
"""

import mmap
from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from statestore.kernel.layout import HUGE_PAGE_BYTES
from txqueue.region.region import Region

_MAP_NORESERVE: Final = 0x4000
"""Address space is no promise to use it: without this, a state could be no larger than the memory that is free."""


def state_words(size_bytes: int, dense: Iterable[range]) -> NDArray[np.uint64]:
    """Zeros that take memory where they are touched, as long as an array of them is in use.

    Args:
        size_bytes: a multiple of 8.
        dense: ranges of bytes that fill up from one end to the other: they get huge pages where the system has some.

    Returns:
        uint64[size_bytes / 8], which begins on a huge page, or where there are none on a page.

    Raises:
        RegionError: the system has no address space for as much.
    """
    try:
        return _private_words(size_bytes, dense)
    except OSError:
        # A limit on private memory, touched or not: strict overcommit, RLIMIT_DATA. Shared memory counts as it is used.
        with Region.create(None, size_bytes, kind="state", version=1) as region:
            return region.words


def _private_words(size_bytes: int, dense: Iterable[range]) -> NDArray[np.uint64]:
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
    mapping = mmap.mmap(-1, size_bytes + HUGE_PAGE_BYTES, flags=flags)
    mapping.madvise(mmap.MADV_DONTDUMP)  # clients' data, and the secret of the hashes, are not for core dumps
    first = -np.frombuffer(mapping, np.uint8).ctypes.data % HUGE_PAGE_BYTES
    for part in dense:
        try:
            mapping.madvise(mmap.MADV_HUGEPAGE, first + part.start, len(part))
        except OSError:  # a kernel that has none
            break
    return np.frombuffer(mapping, np.uint64, size_bytes // 8, first)
