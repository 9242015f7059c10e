"""The result of every transaction in the log, one byte each, for those who watch the log from any index.

Results follow from the log, so this file is a convenience: it is never synced, and a start writes it anew while it
replays the log. Their room is reserved with that of the block, before it is sealed: a full disk turns transactions
away, and takes no result from those that were taken. A write that fails all the same is tried again; until it succeeds
the results are kept in memory, and where they become too many those alone are missing until a restart.

A start overwrites what an earlier one wrote, without giving its room back first: the results are the same, and a disk
that has filled up meanwhile still takes them. What the file holds behind the log's end is cut off before the first new
block.
"""

import logging
import os
import threading
from pathlib import Path
from typing import Final

from penstock.host.clock import SYSTEM_CLOCK, Clock
from replication.log.shortage import shortage_of
from services.pipeline.late_results import LateResults

_MODE: Final = 0o640
_NONE: Final = 0
"""What no transaction has as its result: a hole in the file."""
_EXTENT_BYTES: Final = 1 << 20
"""Room reserved at a time: a system call per so many transactions."""
_RETRY_NS: Final = 200_000_000
"""How soon a write or a reservation that failed is tried again."""

_log = logging.getLogger(__name__)


class ResultsUnavailable(Exception):
    """Some results could not be kept."""


class ResultsFile:
    """A file whose byte ``position`` is the result of that transaction. Safe to use from any thread."""

    def __init__(self, path: Path, clock: Clock = SYSTEM_CLOCK, late: LateResults | None = None) -> None:
        """Keep results at ``path``, which is opened by the first `write` or `reserve` and not before.

        Both are only called by whoever holds the log's lock: a second node that is refused the log leaves the first
        one's results alone.
        """
        self._path = path
        self._clock = clock
        self._late = late if late is not None else LateResults()
        self._file: int | None = None
        self._lock = threading.Lock()
        self._opening = threading.Lock()
        self._reserved: int | None = None
        self._retry_ns = 0
        self._is_failing = False
        self._closed = False

    def reserve(self, first_position: int, count: int) -> None:
        """Set room aside for the results of the log's next block; positions never go back.

        Raises:
            LogFull: the disk has no room; nothing is broken, try again later.
            LogBusy: the system is short of something else; nothing is broken, try again later.
        """
        if self._reserved is None or first_position + count > self._reserved:
            with self._lock:
                self._reserve(first_position, count)

    @property
    def failed(self) -> bool:
        """Whether results cannot be written at the moment, or some have been lost since they could not."""
        return self._is_failing or bool(self._late.lost)

    def try_again(self) -> None:
        """Write what could not be written, where it is time to; a write or a read does so, too."""
        with self._lock:
            self._write_late()

    def write(self, first_position: int, results: bytes) -> None:
        """Keep the results of a block whose first transaction is number ``first_position``."""
        if not self._is_failing and self._put(first_position, results):
            return
        with self._lock:
            self._write_late()
            if self._is_failing or not self._put(first_position, results):
                self._late.keep(first_position, results)

    def read(self, first_position: int, count: int) -> bytes:
        """Read the results of ``count`` transactions that have been applied.

        Raises:
            ResultsUnavailable: they were lost since they could not be written; a restart brings them back.
        """
        results = bytearray(count)
        with self._lock:
            if self._is_failing:
                self._write_late()
            if self._file is not None:
                try:
                    found = os.pread(self._file, count, first_position)
                except OSError as error:
                    raise self._unavailable(str(error.strerror)) from error
                results[: len(found)] = found
            whole = self._late.complete(first_position, results)
        if not whole or _NONE in results:
            raise self._unavailable("it could not be written")
        return bytes(results)

    def close(self) -> None:
        """Let go of the file, once nobody uses it any more."""
        with self._lock:
            self._closed = True
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _reserve(self, first_position: int, count: int) -> None:
        end = first_position + count + _EXTENT_BYTES
        try:
            file = self._opened()
            if self._reserved is None:
                os.ftruncate(file, first_position)
            start = max(self._reserved or 0, first_position)
            os.posix_fallocate(file, start, end - start)
        except OSError as error:
            shortage = shortage_of(error, self._path.parent, _EXTENT_BYTES)
            if shortage is not None:
                raise shortage from error
            # The file is a convenience: what fails otherwise shows when results are written, and stops nobody.
            _log.warning("no room can be reserved in %s (%s)", self._path, error.strerror)
        self._reserved = end

    def _opened(self) -> int:
        with self._opening:
            if self._file is None:
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
            return self._file

    def _put(self, first_position: int, results: bytes) -> bool:
        """Write results; return whether all of them were."""
        try:
            file = self._file if self._file is not None else self._opened()
            written = os.pwrite(file, results, first_position)
        except OSError as error:
            self._begin_to_fail(first_position, str(error.strerror))
            return False
        if written != len(results):
            self._begin_to_fail(first_position, "it takes only a part of them")
        return written == len(results)

    def _begin_to_fail(self, first_position: int, reason: str) -> None:
        if not self._is_failing:
            self._is_failing = True
            _log.warning(
                "results from transaction %d on do not get into %s (%s); memory keeps the last %d of them",
                first_position,
                self._path,
                reason,
                self._late.bytes_max,
            )
        self._retry_ns = self._clock.monotonic_ns() + _RETRY_NS

    def _write_late(self) -> None:
        """Write what is late, where it is time to try again; called with the lock held."""
        if not self._is_failing or self._closed or self._clock.monotonic_ns() < self._retry_ns:
            return
        if not self._late.write_with(self._put):
            return
        self._is_failing = False
        lost = ", ".join(f"{positions.start} to {positions.stop - 1}" for positions in self._late.lost)
        missing = f"results of transactions {lost} are missing until a restart" if lost else "no results are missing"
        _log.warning("%s is written again: %s", self._path, missing)

    def _unavailable(self, why: str) -> ResultsUnavailable:
        return ResultsUnavailable(
            f"results of these transactions are not in {self._path} ({why}): "
            "free disk space and restart the node, which computes them again"
        )
