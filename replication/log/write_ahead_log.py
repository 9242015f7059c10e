"""The write-ahead log: a chain of blocks in segment files, appended by one thread, made durable by group commit.

The way of a block: the sequencer calls :meth:`~WriteAheadLog.reserve`, seals the block, and hands it to the log's
thread, which calls :meth:`~WriteAheadLog.append` with all blocks that wait and then :meth:`~WriteAheadLog.sync` once
for all of them. Anyone may :meth:`~WriteAheadLog.read` at any time.

A directory holds ``lock``, ``cluster`` (see ``identity.py``), ``durable`` (``durable_mark.py``), the segments
(``segment.py``), and files ending in ``.recycled`` and ``.new``, which are space kept or in preparation and no data.
"""

import contextlib
import errno
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pooling.buffers import aligned_buffer
from replication.log.block import NO_HASH, PAGE_BYTES, Block
from replication.log.disk import Disk
from replication.log.durable_watermark import DurableWatermark
from replication.log.errors import LogFailed, LogFull
from replication.log.log_metadata import DirectoryLock, adopt_identity
from replication.log.recovery import LogRecovery, TornTail
from replication.log.segment import SEGMENT_BYTES_DEFAULT, Segment, segment_files
from replication.log.segment_index import SegmentIndex, read_segment
from replication.log.segment_preallocator import SegmentPreallocator
from replication.log.segment_writer import SegmentWriter

SEGMENT_BYTES_MIN: Final = 64 << 10
_MARK_INTERVAL_S: Final = 1.0

_log = logging.getLogger(__name__)


class SyncMode(StrEnum):
    """When an appended block may be answered for."""

    BLOCK = "block"
    """Once it is synced: nothing answered is ever lost."""
    INTERVAL = "interval"
    """At once; a sync follows within the interval. A power cut loses what was answered since the last one."""
    NONE = "none"
    """At once; synced when a segment is full and when the log is closed. A power cut may lose a segment's worth."""


class WriteAheadLog:
    """An open log. :meth:`open` is the way to get one; a context manager that closes it."""

    def __init__(
        self,
        directory: Path,
        lock: DirectoryLock,
        scan: LogRecovery,
        cluster_id: int,
        segment_bytes: int,
        sync_mode: SyncMode,
        interval_ms: float,
        disk: Disk,
    ) -> None:
        self.directory: Final = directory
        self.cluster_id: Final = cluster_id
        self.sync_mode: Final = sync_mode
        self.torn_tail: Final[TornTail | None] = scan.torn
        """What recovery cut off, for the operator to know."""
        self._last = (scan.next_index - 1, scan.next_position, scan.last_hash or NO_HASH)
        self._last_time_ns = scan.last_time_ns
        self._marked_index = 0
        self._failure: str | None = None
        self._disk = disk
        self._lock = lock
        self._index = SegmentIndex(scan.segments)
        ready = segment_files(directory)[len(scan.segments) :]
        next_number = len(ready) + (scan.segments[-1].number if scan.segments else 0) + 1
        self._supply = SegmentPreallocator(directory, disk, segment_bytes, ready, next_number)
        self._writer = SegmentWriter(self._index, self._supply, disk, cluster_id, segment_bytes)
        self._mark = DurableWatermark(directory, cluster_id, disk)
        if scan.segments:
            self._writer.resume(scan.segments[-1], scan.end, self.last_index)
        self._supply.start()
        self._closing = threading.Event()
        self._tick_s = interval_ms / 1000 if sync_mode is SyncMode.INTERVAL else _MARK_INTERVAL_S
        self._ticker = threading.Thread(target=self._tick, name="log-sync", daemon=True)
        self._ticker.start()

    @classmethod
    def open(
        cls,
        directory: Path,
        cluster_id: int | None = None,
        *,
        segment_bytes: int = SEGMENT_BYTES_DEFAULT,
        sync_mode: SyncMode | str = SyncMode.BLOCK,
        interval_ms: float = 10.0,
        on_block: Callable[[Block], None] | None = None,
        disk: Disk | None = None,
        parameters: Mapping[str, int] | None = None,
    ) -> Self:
        """Open or create the log in ``directory`` and read it once from end to end.

        Every block is verified and given to ``on_block``, in order; its memory is used again when that returns. A torn
        tail is cut off and told in :attr:`torn_tail`. ``cluster_id=None`` takes the directory's, or a new random one.
        ``segment_bytes`` (whole pages, 64 KiB or more) is the size of new segments and bounds that of a block.
        ``parameters`` are numbers on which the meaning of the log depends: a new log keeps them, and from then on takes
        no others.

        Raises :class:`LogInUse`, :class:`LogReadOnly`, :class:`LogForeign`, :class:`LogParametersDiffer`,
        :class:`LogVersionUnsupported`, :class:`LogFull`, :class:`LogCorrupted`, ``OSError`` where reading fails, and
        what ``on_block`` raises.
        """
        if segment_bytes < SEGMENT_BYTES_MIN or segment_bytes % PAGE_BYTES:
            raise ValueError(f"segments of {segment_bytes} bytes: use whole pages of {PAGE_BYTES}, 64 KiB or more")
        if interval_ms <= 0:
            raise ValueError(f"a sync interval of {interval_ms} ms: use more than 0")
        disk = disk or Disk()
        lock = DirectoryLock.hold(directory)
        try:
            empty = not segment_files(directory)
            cluster_id = adopt_identity(directory, cluster_id, parameters or {}, disk, empty=empty)
            scan = LogRecovery(directory, cluster_id, disk)
            for block in scan:
                if on_block is not None:
                    on_block(block)
            _cut(scan, segment_bytes, disk)
            return cls(directory, lock, scan, cluster_id, segment_bytes, SyncMode(sync_mode), interval_ms, disk)
        except OSError as error:
            lock.release()
            if error.errno == errno.ENOSPC:
                raise LogFull(directory, PAGE_BYTES, str(error.strerror)) from error
            raise
        except BaseException:
            lock.release()
            raise

    @property
    def first_index(self) -> int:
        """Index of the oldest block that :meth:`read` reaches; 1 for an empty log."""
        return self._index.first_index

    @property
    def last_index(self) -> int:
        """Index of the last block appended; 0 for an empty log."""
        return self._last[0]

    @property
    def last_position(self) -> int:
        """Transactions appended, which is also the number of the next one."""
        return self._last[1]

    @property
    def last_hash(self) -> bytes:
        """Hash of the last block appended: the next one's ``previous_hash``."""
        return self._last[2]

    @property
    def last_time_ns(self) -> int:
        """Time of the last block appended, which no later one may be before; 0 for an empty log."""
        return self._last_time_ns

    @property
    def durable_index(self) -> int:
        """Highest index known to be synced, in every sync mode."""
        return self._writer.durable_index

    def reserve(self, byte_count: int) -> None:
        """Set room aside for one block that takes at most ``byte_count`` bytes (``Block.stored_bytes``).

        Called once per block before it is sealed, in order, so that a full disk turns transactions away while they can
        still be refused; a block appended without it gets its room then. Waits while a segment is being prepared.
        Raises :class:`LogFull` (nothing is broken, try again later), :class:`LogFailed`, and ``ValueError`` for a block
        larger than a segment.
        """
        self._check()
        self._writer.reserve(byte_count)

    def append(self, blocks: Sequence[Block]) -> None:
        """Write blocks that follow the last one, with one call of the system per run within a segment; does not sync.

        Their buffers are page-aligned and free again on return. Called by one thread. Raises :class:`LogFailed`, after
        which the log takes no more; ``ValueError`` for blocks that do not follow, and :class:`LogFull` for blocks
        without a reservation, both before anything is written.
        """
        self._check()
        last = self._last
        for block in blocks:
            if (block.index - 1, block.first_position, block.previous_hash) != last:
                raise ValueError(f"{block!r} does not follow block {last[0]} at position {last[1]}")
            if block.cluster_id != self.cluster_id:
                raise ValueError(f"{block!r} is of cluster {block.cluster_id:016x}, not {self.cluster_id:016x}")
            last = (block.index, block.next_position, block.hash)
        try:
            self._writer.write(blocks)
        except OSError as error:
            raise self._fail(error) from error
        self._last = last
        self._last_time_ns = blocks[-1].time_ns if blocks else self._last_time_ns

    def sync(self) -> int:
        """Return the highest index that may be answered for; in mode ``block``, after syncing all that was appended.

        Raises :class:`LogFailed`, after which the log takes no more: what a failed sync left on the disk is unknown.
        """
        self._check()
        if self.sync_mode is SyncMode.BLOCK:
            self._sync()
            return self.durable_index
        return self.last_index

    def read(self, from_index: int) -> Iterator[Block]:
        """Yield the blocks from ``from_index`` to the last one appended when it is reached, verified.

        They are read-only views of mapped segments and stay valid for as long as they are kept. Raises
        :class:`LogRecycled` and :class:`LogCorrupted`.
        """
        while from_index <= self.last_index:
            segment, to_index, data = self._index.find(from_index, self.last_index)
            yield from read_segment(segment, data, from_index, to_index)
            from_index = to_index + 1

    def recycle_below(self, index: int) -> int:
        """Give up whole segments whose blocks are all below ``index`` and durable, for new ones; return how many.

        A segment that somebody still reads is removed instead; their blocks stay as they are. Raises ``OSError``.
        """
        count = 0
        for segment, is_read in self._index.release_below(min(index, self.durable_index)):
            if is_read:
                segment.path.unlink()
                self._disk.sync_directory(self.directory)
            else:
                self._supply.give(segment.path)
            count += 1
        return count

    def close(self) -> None:
        """Sync, in every mode, and let go of the directory. Raises :class:`LogFailed` if the sync fails."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._ticker.join()
        self._supply.close()
        try:
            if self._failure is None:
                self._sync()
                self._write_mark()
        finally:
            self._writer.close()
            self._mark.close()
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _sync(self) -> None:
        try:
            self._writer.sync(self.last_index)
        except OSError as error:
            raise self._fail(error) from error

    def _write_mark(self) -> None:
        index = self.durable_index
        if index > self._marked_index:
            try:
                self._mark.write(index)
            except OSError as error:
                # A hint: the log is as durable without it. The next tick tries again.
                _log.warning("the durable mark of %s could not be moved (%s)", self.directory, error.strerror)
            else:
                self._marked_index = index

    def _tick(self) -> None:
        """Sync (mode ``interval``) and move the durable mark, now and then; a failure shows at the next call."""
        ticks_per_mark = max(1, round(_MARK_INTERVAL_S / self._tick_s))
        ticks = 0
        with contextlib.suppress(LogFailed):
            while not self._closing.wait(self._tick_s) and self._failure is None:
                ticks += 1
                if self.sync_mode is SyncMode.INTERVAL:
                    self._sync()
                if ticks % ticks_per_mark == 0:
                    self._write_mark()

    def _check(self) -> None:
        if self._failure is not None:
            raise LogFailed(self.directory, self._failure)

    def _fail(self, error: OSError) -> LogFailed:
        self._failure = str(error.strerror or error)
        return LogFailed(self.directory, self._failure)


def _cut(scan: LogRecovery, segment_bytes: int, disk: Disk) -> None:
    """Remove what a torn tail left, and unused segments of another size."""
    if scan.torn is not None and scan.segments:
        _clear(scan.segments[-1], scan.end, disk)
    if scan.torn is not None or any(path.stat().st_size != segment_bytes for path in scan.unused):
        # From the last one down, so that a crash in between leaves no gap in the numbers.
        for path in reversed(scan.unused):
            path.unlink()
            disk.sync_directory(path.parent)


def _clear(segment: Segment, offset: int, disk: Disk) -> None:
    """Fill a segment with zeros from ``offset`` to its end."""
    if offset == segment.segment_bytes:
        return
    fd = disk.open(segment.path, os.O_RDWR)
    try:
        disk.write(fd, [aligned_buffer(segment.segment_bytes - offset)], offset)
        disk.sync(fd)
    finally:
        disk.close(fd)
