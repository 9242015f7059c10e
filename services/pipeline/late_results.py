"""Late results: those that could not be written yet, kept in memory within a bound, and which have been lost."""

from collections import deque
from collections.abc import Callable
from typing import Final

LATE_BYTES_MAX: Final = 4 << 20
"""Results kept in memory, a byte each; beyond it the oldest are lost."""


class LateResults:
    """Results by position, in order. Belongs to whoever holds its owner's lock."""

    def __init__(self, bytes_max: int = LATE_BYTES_MAX) -> None:
        self.bytes_max = bytes_max
        self._kept: deque[tuple[int, bytes]] = deque()
        self._bytes = 0
        self.lost: list[range] = []
        """Positions whose results are neither in the file nor here, in order."""

    def __bool__(self) -> bool:
        """Tell whether any wait to be written."""
        return bool(self._kept)

    def keep(self, first_position: int, results: bytes) -> None:
        """Take results that follow those kept before; the oldest are lost where they become too many."""
        self._kept.append((first_position, results))
        self._bytes += len(results)
        while self._bytes > self.bytes_max:
            position, oldest = self._kept.popleft()
            self._bytes -= len(oldest)
            self._lose(range(position, position + len(oldest)))

    def write_with(self, write: Callable[[int, bytes], bool]) -> bool:
        """Have ``write`` put them where they belong, until it cannot; return whether none is left."""
        while self._kept and write(*self._kept[0]):
            self._bytes -= len(self._kept.popleft()[1])
        return not self._kept

    def complete(self, first_position: int, results: bytearray) -> bool:
        """Put what is kept over results that were read from ``first_position`` on; return False where some are lost."""
        wanted = range(first_position, first_position + len(results))
        for position, kept in self._kept:
            start, end = max(position, wanted.start), min(position + len(kept), wanted.stop)
            if start < end:
                results[start - wanted.start : end - wanted.start] = kept[start - position : end - position]
        return not any(lost.start < wanted.stop and wanted.start < lost.stop for lost in self.lost)

    def _lose(self, positions: range) -> None:
        if self.lost and self.lost[-1].stop == positions.start:
            self.lost[-1] = range(self.lost[-1].start, positions.stop)
        else:
            self.lost.append(positions)
