"""malloc tuning: what glibc's allocator keeps for this process, and what goes back to the system after the start."""

import contextlib
import ctypes
import gc
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

# Parameters of mallopt(3).
_M_TRIM_THRESHOLD: Final = -1
_M_TOP_PAD: Final = -2
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8

_LARGEST_MESSAGE_BYTES: Final = 32 << 20
_KEPT_BYTES: Final = 64 << 20
_GROWTH_BYTES: Final = 4 << 20

_MADV_DONTNEED: Final = 4
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_MAPPING: Final = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \S+ +(/.*)")


def keep_large_messages_in_the_heap() -> bool:
    """Tune glibc's allocator for this process; returns False where the C library has no such choice.

    A message of 640 kB is above glibc's threshold for a mapping of its own: the kernel would map, zero and unmap 160
    pages for every frame. Measured on a stream of such frames: a fifth to a third more throughput without that.

    One arena, not one for each thread: gRPC's threads free each other's messages, so every arena grows to the size of
    the largest burst that passed through it, for as long as the process lives. Measured: 15 MiB less, and no slower.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # musl, macOS
        return False
    return all(
        mallopt(parameter, value)
        for parameter, value in (
            (_M_MMAP_THRESHOLD, _LARGEST_MESSAGE_BYTES),
            (_M_TRIM_THRESHOLD, _KEPT_BYTES),
            (_M_TOP_PAD, _GROWTH_BYTES),
            (_M_ARENA_MAX, 1),
        )
    )


def settle_after_start() -> None:
    """Give back what only the start needed. Called once the kernels are loaded; elsewhere than on Linux does less.

    What start-up made will live as long as the node: garbage collection, which may have been off until now, need not
    look at it again. The compiler's code, a third of a fresh node's resident memory, is not run any more: its pages go
    back to the page cache, from where they would come again.
    """
    gc.collect()
    gc.freeze()
    gc.enable()
    try:
        library = ctypes.CDLL(None)
        library.malloc_trim(0)
        library.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        for start, end in _clean_pages_of("libllvmlite"):
            library.madvise(start, end - start, _MADV_DONTNEED)
    except (AttributeError, OSError):  # not Linux, or not glibc
        return


def give_back() -> None:
    """Return free memory to the system, wherever it lies; elsewhere than with glibc does nothing.

    glibc returns by itself only what is free at the end of its heap, and one block behind a flood keeps all of it.
    Takes milliseconds, in which other threads wait that allocate: for quiet moments.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def anonymous_bytes() -> int:
    """Give the process's resident memory without what belongs to files, the state's tables included. Costs some 30 us.

    0 where the system does not say.
    """
    try:
        _, resident, shared, *_rest = Path("/proc/self/statm").read_bytes().split()
    except OSError:  # not Linux
        return 0
    return (int(resident) - int(shared)) * _PAGE_BYTES


def resident_bytes() -> tuple[int, int]:
    """Give the process's resident memory, and what of it are the state's tables and mapped segments of the log."""
    total = mapped = 0
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if line[0] in "0123456789abcdef":
            inside = "/memfd:penstock-state" in line or line.endswith(".segment")
        elif line.startswith("Rss:"):
            resident = int(line.split()[1]) << 10
            total += resident
            mapped += resident if inside else 0
    return total, mapped


def _clean_pages_of(library: str) -> Iterator[tuple[int, int]]:
    """Find mappings of a library that hold nothing but its file's bytes: others were written to, and would be lost."""
    mapping: re.Match[str] | None = None
    wanted = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if line[0] in "0123456789abcdef":
            mapping = _MAPPING.match(line)
            wanted = mapping is not None and library in mapping[4] and "w" not in mapping[3]
        elif wanted and line.startswith("Anonymous:") and line.split()[1] == "0":
            assert mapping is not None
            yield int(mapping[1], 16), int(mapping[2], 16)
