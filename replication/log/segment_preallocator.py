"""Keeps segments ready before they are needed.

Writing into space that was never written makes every sync also record new extents (five times slower here), and running
out of space in the middle of a write is the worst moment. So a segment enters the log only when each of its bytes has
been written once: a thread fills new files with zeros, or takes recycled ones, two ahead of the writer.
"""

import errno
import os
import threading
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pooling.buffers import aligned_buffer
from replication.log.block import PAGE_BYTES
from replication.log.disk import Disk
from replication.log.errors import LogFailed, LogFull
from replication.log.segment import recycled_files, recycled_path, segment_number, segment_path

_AHEAD: Final = 2
_FILL_BYTES: Final = 1 << 20
"""Per write: larger ones cost a little less and make the blocks written meanwhile wait for longer."""
_RETRY_S: Final = 0.2
"""How soon a full disk is tried again: soon enough to go on by itself, seldom enough to cost nothing."""


class SegmentPreallocator:
    """Prepared segments of one log, in the order of their numbers; a thread of its own prepares more."""

    def __init__(
        self, directory: Path, disk: Disk, segment_bytes: int, ready: Iterable[Path], next_number: int
    ) -> None:
        """``ready``: prepared segments found at opening, the last of which has the number before ``next_number``."""
        self._directory, self._disk, self._segment_bytes = directory, disk, segment_bytes
        self._ready = deque(ready)
        self._recycled = deque(recycled_files(directory))
        self._next_number = next_number
        # Kept, since faulting it in costs a third of filling a segment.
        self._zeros = aligned_buffer(min(_FILL_BYTES, segment_bytes))
        self._failure: OSError | None = None
        self._closed = False
        self._changed = threading.Condition()
        # Left by a crash in the middle of filling it.
        self._unfinished.unlink(missing_ok=True)
        self._thread = threading.Thread(target=self._run, name="log-supply", daemon=True)

    def start(self) -> None:
        """Start preparing."""
        self._thread.start()

    @property
    def _unfinished(self) -> Path:
        return self._directory / "segment.new"

    def take(self) -> Path:
        """Return the next prepared segment; waits for one in preparation.

        Raises :class:`LogFull` where there was no space for it, and :class:`LogFailed` where it failed otherwise.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._failure or self._closed)
            if self._ready:
                path = self._ready.popleft()
                self._changed.notify_all()
                return path
            if self._failure is None:
                raise LogFailed(self._directory, "the log is closed")
            reason = str(self._failure.strerror)
            if self._failure.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise LogFull(self._directory, self._segment_bytes, reason) from self._failure
            raise LogFailed(self._directory, reason) from self._failure

    def give(self, path: Path) -> None:
        """Take a segment out of the log, durably, and keep it for another use."""
        path.rename(recycled_path(path))
        self._disk.sync_directory(self._directory)
        with self._changed:
            self._recycled.append(recycled_path(path))

    def close(self) -> None:
        """Stop preparing, after the segment at hand."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: len(self._ready) < _AHEAD or self._closed)
                if self._closed:
                    return
            try:
                path = self._prepare()
            except OSError as error:
                self._unfinished.unlink(missing_ok=True)
                with self._changed:
                    self._failure = error
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: self._closed, _RETRY_S)
                continue
            with self._changed:
                self._failure = None
                self._ready.append(path)
                self._next_number += 1
                self._changed.notify_all()

    def _prepare(self) -> Path:
        """Make the next segment ready under its name."""
        assert not self._ready or segment_number(self._ready[-1]) == self._next_number - 1
        while self._recycled:
            source = self._recycled.popleft()
            if source.stat().st_size == self._segment_bytes:
                self._clear_header(source)
                break
            source.unlink()
        else:
            source = self._unfinished
            self._fill(source)
        path = segment_path(self._directory, self._next_number)
        source.rename(path)
        self._disk.sync_directory(self._directory)
        return path

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
