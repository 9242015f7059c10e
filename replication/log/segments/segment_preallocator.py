"""Segment preallocator: keeps segments ready before they are needed.

Writing into space that was never written makes every sync also record new extents (five times slower here), and running
out of space in the middle of a write is the worst moment. So a segment enters the log only when each of its bytes has
been written once: beside the writer, new files are filled with zeros, or recycled ones taken, two ahead of it. They are
given out open, so that going on to one needs nothing that the system might be short of.
"""

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from penstock.host.clock import Clock
from penstock.host.executor import Executor, Running
from pooling.buffers import aligned_buffer
from replication.log.block import PAGE_BYTES
from replication.log.disk import Disk
from replication.log.errors import LogBusy, LogFailed, LogFull
from replication.log.segments.prepared_segment import PreparedSegment
from replication.log.segments.segment import (
    recycled_files,
    recycled_path,
    segment_number,
    segment_path,
    unfinished_path,
)
from replication.log.shortage import refusal_of

_PREPARED_AHEAD: Final = 2
_FILL_BYTES: Final = 1 << 20
"""Per write: larger ones cost a little less and make the blocks written meanwhile wait for longer."""
_RETRY_NS: Final = 200_000_000
"""How soon a full disk is tried again: soon enough to go on by itself, seldom enough to cost nothing."""
_BUSY_RETRY_NS: Final = 10_000_000
"""How soon another shortage is tried again at first; doubled up to the above while it lasts."""


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
        check_place: Callable[[], None],
    ) -> None:
        """Go on behind segments found ``prepared``, the last of which has the number before ``next_number``.

        ``check_place`` raises where the directory is not the log's any more; it is asked before a file gets a name.

        Raises:
            OSError: one of them cannot be opened.
        """
        self._directory, self._disk, self._segment_bytes = directory, disk, segment_bytes
        self._clock, self._executor, self._check_place = clock, executor, check_place
        self._prepared: deque[PreparedSegment] = deque()
        self._recycled = deque(recycled_files(directory))
        self._next_number = next_number
        # Kept, since faulting it in costs a third of filling a segment.
        self._zeros = aligned_buffer(min(_FILL_BYTES, segment_bytes))
        self._failure: Exception | None = None
        self._retry_ns = self._busy_wait_ns = 0
        self._closed = False
        self._preparing: Running | None = None
        self._lock = threading.Lock()
        # Left by a crash in the middle of filling it.
        unfinished_path(directory).unlink(missing_ok=True)
        try:
            for path in prepared:
                self._prepared.append(PreparedSegment(path, disk.open(path, os.O_RDWR)))
        except OSError:
            self.close()
            raise

    def start(self) -> None:
        """Start preparing."""
        with self._lock:
            self._prepare_more()

    def take(self) -> PreparedSegment:
        """Return the next prepared segment; waits for one in preparation.

        Raises:
            LogFull: there is no room for another segment. It is tried again by a later call.
            LogBusy: the system is short of something else. It is tried again by a later call.
            LogFailed: preparing one failed otherwise, or the log is closed.
        """
        while True:
            with self._lock:
                if self._prepared:
                    segment = self._prepared.popleft()
                    self._prepare_more()
                    return segment
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
        while self._prepared:
            self._disk.close(self._prepared.popleft().fd)

    def _refusal(self) -> LogFull | LogBusy | LogFailed:
        if self._closed:
            return LogFailed(self._directory, "the log is closed")
        assert self._failure is not None
        return refusal_of(self._failure, self._directory, self._segment_bytes)

    def _prepare_more(self) -> None:
        """Begin to prepare a segment where one is wanted; called with the lock held."""
        if self._closed or self._preparing is not None or len(self._prepared) >= _PREPARED_AHEAD:
            return
        if self._failure is None or self._clock.monotonic_ns() >= self._retry_ns:
            try:
                self._preparing = self._executor.start("log-preallocator", self._run)
            except RuntimeError as error:
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        """Remember why there is no segment, and when to try again; called with the lock held."""
        self._failure = error.with_traceback(None)  # whose frames would keep what was being read
        wait_ns = _RETRY_NS
        if isinstance(refusal_of(error, self._directory, self._segment_bytes), LogBusy):
            self._busy_wait_ns = wait_ns = min(max(2 * self._busy_wait_ns, _BUSY_RETRY_NS), _RETRY_NS)
        self._retry_ns = self._clock.monotonic_ns() + wait_ns

    def _run(self) -> None:
        failure = segment = None
        try:
            segment = self._prepare()
        except Exception as error:  # whatever it is, somebody waits for the end
            failure = error
            with contextlib.suppress(OSError):  # a disk that fails may refuse this, too
                unfinished_path(self._directory).unlink(missing_ok=True)
        with self._lock:
            self._preparing = None
            if segment is None:
                assert failure is not None
                self._fail(failure)
            else:
                self._failure, self._busy_wait_ns = None, 0
                self._prepared.append(segment)
                self._next_number += 1
                self._prepare_more()

    def _prepare(self) -> PreparedSegment:
        """Make the next segment ready under its name."""
        assert not self._prepared or segment_number(self._prepared[-1].path) == self._next_number - 1
        self._check_place()
        source = self._next_recycled()
        is_new = source is None
        if source is None:
            source = unfinished_path(self._directory)
        try:
            fd = self._disk.open(source, os.O_RDWR | (os.O_CREAT | os.O_TRUNC if is_new else 0))
            try:
                self._fill(fd) if is_new else self._clear_header(fd)
                path = segment_path(self._directory, self._next_number)
                self._check_place()  # filling it took a while
                self._disk.rename(source, path)
                self._disk.hold_spares()
            except BaseException:
                self._disk.close(fd)
                raise
        except Exception:
            if not is_new:
                self._recycled.appendleft(source)
            raise
        return PreparedSegment(path, fd)

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

    def _clear_header(self, fd: int) -> None:
        self._disk.write(fd, [self._zeros[:PAGE_BYTES]], 0)
        self._disk.sync(fd)

    def _fill(self, fd: int) -> None:
        self._disk.allocate(fd, self._segment_bytes)
        for offset in range(0, self._segment_bytes, _FILL_BYTES):
            if self._closed:
                raise InterruptedError("the log is being closed")
            self._disk.write(fd, [self._zeros[: self._segment_bytes - offset]], offset)
        self._disk.sync(fd)
