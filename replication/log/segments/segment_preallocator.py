"""Segment preallocator: keeps segments ready before they are needed.

Writing into space that was never written makes every sync also record new extents (five times slower here), and running
out of space in the middle of a write is the worst moment. So a segment enters the log only when each of its bytes has
been written once: beside the writer, new files are filled with zeros, or recycled ones taken, two ahead of it.
"""

import contextlib
import os
import threading
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from penstock.host.clock import Clock
from penstock.host.executor import Executor, Running
from pooling.buffers import aligned_buffer
from replication.log.block import PAGE_BYTES
from replication.log.disk import NO_SPACE_ERRNOS, Disk
from replication.log.errors import LogFailed, LogFull
from replication.log.segments.segment import (
    recycled_files,
    recycled_path,
    segment_number,
    segment_path,
    unfinished_path,
)

_PREPARED_AHEAD: Final = 2
_FILL_BYTES: Final = 1 << 20
"""Per write: larger ones cost a little less and make the blocks written meanwhile wait for longer."""
_RETRY_NS: Final = 200_000_000
"""How soon a full disk is tried again: soon enough to go on by itself, seldom enough to cost nothing."""


class SegmentPreallocator:
    """Prepared segments of one log, in the order of their numbers. Each is prepared by a run of the executor."""

    def __init__(
        self,
        directory: Path,
        disk: Disk,
        segment_bytes: int,
        prepared: Iterable[Path],
        next_number: int,
        clock: Clock,
        executor: Executor,
    ) -> None:
        """``prepared``: segments found prepared, the last of which has the number before ``next_number``."""
        self._directory, self._disk, self._segment_bytes = directory, disk, segment_bytes
        self._clock, self._executor = clock, executor
        self._prepared = deque(prepared)
        self._recycled = deque(recycled_files(directory))
        self._next_number = next_number
        # Kept, since faulting it in costs a third of filling a segment.
        self._zeros = aligned_buffer(min(_FILL_BYTES, segment_bytes))
        self._failure: Exception | None = None
        self._retry_ns = 0
        self._closed = False
        self._preparing: Running | None = None
        self._lock = threading.Lock()
        # Left by a crash in the middle of filling it.
        unfinished_path(directory).unlink(missing_ok=True)

    def start(self) -> None:
        """Start preparing."""
        with self._lock:
            self._prepare_more()

    def take(self) -> Path:
        """Return the next prepared segment; waits for one in preparation.

        Raises:
            LogFull: there is no room for another segment. It is tried again by a later call.
            LogFailed: preparing one failed otherwise, or the log is closed.
        """
        while True:
            with self._lock:
                if self._prepared:
                    path = self._prepared.popleft()
                    self._prepare_more()
                    return path
                self._prepare_more()
                preparing = self._preparing
                if preparing is None:
                    raise self._refusal()
            preparing.join()

    def recycle(self, path: Path) -> None:
        """Take a segment out of the log, durably, and keep it for another use.

        Raises:
            OSError: the disk failed.
        """
        self._disk.rename(path, recycled_path(path))
        with self._lock:
            self._recycled.append(recycled_path(path))

    def close(self) -> None:
        """Stop preparing; a new file that is being filled is given up."""
        with self._lock:
            self._closed = True
            preparing = self._preparing
        if preparing is not None:
            preparing.join()

    def _refusal(self) -> LogFull | LogFailed:
        if self._closed:
            return LogFailed(self._directory, "the log is closed")
        failure = self._failure
        assert failure is not None
        if isinstance(failure, OSError):
            reason, passes = str(failure.strerror), failure.errno in NO_SPACE_ERRNOS
        else:
            reason, passes = str(failure), isinstance(failure, RuntimeError)  # the system has no thread to give
        return LogFull(self._directory, self._segment_bytes, reason) if passes else LogFailed(self._directory, reason)

    def _prepare_more(self) -> None:
        """Begin to prepare a segment where one is wanted; called with the lock held."""
        if self._closed or self._preparing is not None or len(self._prepared) >= _PREPARED_AHEAD:
            return
        if self._failure is None or self._clock.monotonic_ns() >= self._retry_ns:
            try:
                self._preparing = self._executor.start("log-preallocator", self._run)
            except RuntimeError as error:
                self._failure = error
                self._retry_ns = self._clock.monotonic_ns() + _RETRY_NS

    def _run(self) -> None:
        failure = path = None
        try:
            path = self._prepare()
        except Exception as error:  # whatever it is, somebody waits for the end
            failure = error
            with contextlib.suppress(OSError):  # a disk that fails may refuse this, too
                unfinished_path(self._directory).unlink(missing_ok=True)
        with self._lock:
            self._preparing = None
            self._failure = failure
            if path is None:
                self._retry_ns = self._clock.monotonic_ns() + _RETRY_NS
            else:
                self._prepared.append(path)
                self._next_number += 1
                self._prepare_more()

    def _prepare(self) -> Path:
        """Make the next segment ready under its name."""
        assert not self._prepared or segment_number(self._prepared[-1]) == self._next_number - 1
        source = self._next_recycled()
        if source is None:
            source = unfinished_path(self._directory)
            self._fill(source)
        else:
            self._clear_header(source)
        path = segment_path(self._directory, self._next_number)
        self._disk.rename(source, path)
        return path

    def _next_recycled(self) -> Path | None:
        while self._recycled:
            source = self._recycled.popleft()
            # A number that a truncation freed comes again, and the second file of a name takes the first one's place.
            if not source.exists():
                continue
            if source.stat().st_size == self._segment_bytes:
                return source
            source.unlink()
        return None

    def _clear_header(self, path: Path) -> None:
        fd = self._disk.open(path, os.O_RDWR)
        try:
            self._disk.write(fd, [aligned_buffer(PAGE_BYTES)], 0)
            self._disk.sync(fd)
        finally:
            self._disk.close(fd)

    def _fill(self, path: Path) -> None:
        fd = self._disk.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        try:
            self._disk.allocate(fd, self._segment_bytes)
            for offset in range(0, self._segment_bytes, _FILL_BYTES):
                if self._closed:
                    raise InterruptedError("the log is being closed")
                self._disk.write(fd, [self._zeros[: self._segment_bytes - offset]], offset)
            self._disk.sync(fd)
        finally:
            self._disk.close(fd)
