"""Write-ahead log: a chain of blocks in segment files, appended by one thread, made durable by group commit.

At start, :meth:`~WriteAheadLog.open` recovers: it finds the end of the log, cuts a torn tail, and is ready to append.
:meth:`~WriteAheadLog.replay` then gives the blocks, from the first up to an index, to whoever builds a state from them.

The way of a block: the sequencer calls :meth:`~WriteAheadLog.reserve`, seals the block, and hands it to the log's
thread, which calls :meth:`~WriteAheadLog.append` with all blocks that wait and then :meth:`~WriteAheadLog.sync` once
for all of them. Any thread may :meth:`~WriteAheadLog.read` at any time. :meth:`~WriteAheadLog.truncate_after` takes
blocks off the end again, :meth:`~WriteAheadLog.recycle_below` off the beginning.

A directory holds ``lock`` (``directory_lock.py``), ``cluster`` (``log_metadata.py``), ``durable``
(``durable_watermark.py``), ``beginning`` (``log_beginning.py``), the segments (``segment.py``), where the log is one of
several nodes' ``promise`` (``promise_record.py``), while it is being cut ``cut`` (``cut_intention.py``), and files
ending in ``.recycled`` and ``.new``, which are space kept or in preparation and no data.
"""

import contextlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from penstock.host.clock import SYSTEM_CLOCK, Clock
from penstock.host.disk_wait import DiskWait
from penstock.host.executor import THREADS, Executor
from replication.log.block import PAGE_BYTES, Block, ChainTip
from replication.log.directory.directory_lock import DirectoryLock
from replication.log.directory.durable_watermark import DurableWatermark
from replication.log.directory.log_beginning import BeginningRecord, LogBeginning
from replication.log.directory.log_metadata import LogMetadata
from replication.log.directory.promise_record import PromiseStore
from replication.log.disk import Disk
from replication.log.errors import LogFailed, LogRecycled
from replication.log.log_maintenance import LogMaintenance
from replication.log.readable_log import ReadableLog
from replication.log.recovery.opening import adopt, commit_index_of, cut_what_is_behind, recover_with
from replication.log.recovery.recovery import RecoveredLog, SuspectTail, TornTail
from replication.log.segments.growth_probe import probe_growth
from replication.log.segments.log_end import LogEnd
from replication.log.segments.segment import (
    SEGMENT_BYTES_DEFAULT,
    SEGMENT_BYTES_MIN,
    recycled_path,
    segment_files,
    truncated_path,
)
from replication.log.segments.segment_index import SegmentIndex
from replication.log.shortage import shortages_told
from replication.log.sync_mode import SyncMode


class WriteAheadLog(ReadableLog):
    """An open log. :meth:`open` is the way to get one; a context manager that closes it."""

    def __init__(
        self,
        directory: Path,
        lock: DirectoryLock,
        metadata: LogMetadata,
        promises: PromiseStore | None,
        recovered: RecoveredLog,
        prepared: Sequence[Path],
        *,
        segment_bytes: int,
        sync_mode: SyncMode,
        interval_ms: float,
        disk: Disk,
        clock: Clock,
        executor: Executor,
    ) -> None:
        super().__init__(SegmentIndex(recovered.segments, recovered.tip.index), recovered.tip, disk)
        self.directory: Final = directory
        self.cluster_id: Final = metadata.cluster_id
        self.log_id: Final = metadata.log_id
        """Random identity of the log on this disk."""
        self.node: Final = metadata.node
        """Number of the node that has the log; 0 where the log has only ever had one node, without a number."""
        self.promises: Final = promises
        """What the node has bound itself to; None where it has no number. Closed with the log."""
        self.sync_mode: Final = sync_mode
        self.torn_tail: Final[TornTail | None] = recovered.torn_tail
        """What recovery cut off, for the operator to know."""
        self.suspect: Final[SuspectTail | None] = recovered.suspect
        """What recovery cut off that the node may have acknowledged: it does not vote until others gave it again."""
        self.commit_index: Final = commit_index_of(metadata, promises, recovered)
        """Up to where blocks were known to be committed when the log was opened: its replay ends there."""
        self._failure: str | None = None
        self._lock = lock
        self._on_failure: Callable[[LogFailed], object] = lambda _: None
        self._closed = False
        with contextlib.ExitStack() as opened:  # a log that cannot be opened touches nothing once its lock is released
            self._watermark = DurableWatermark(directory, metadata.cluster_id, disk)
            opened.callback(self._watermark.close)
            self._beginning = BeginningRecord(directory, metadata.cluster_id, disk)
            opened.callback(self._beginning.close)
            self._end = LogEnd(
                directory,
                self._index,
                prepared,
                recovered.end,
                cluster_id=metadata.cluster_id,
                log_id=metadata.log_id,
                segment_bytes=segment_bytes,
                disk=disk,
                clock=clock,
                executor=executor,
                check_place=lock.check_place,
            )
            opened.callback(self._end.close)
            self._end.start()
            self._maintenance = LogMaintenance(
                self._sync_in_background,
                interval_ms / 1000 if sync_mode is SyncMode.INTERVAL else None,
                lambda: self._watermark.follow(self.durable_index),
                clock,
            )
            self._maintenance.start(executor)
            opened.pop_all()

    @classmethod
    def open(
        cls,
        directory: Path,
        cluster_id: int | None = None,
        *,
        segment_bytes: int = SEGMENT_BYTES_DEFAULT,
        sync_mode: SyncMode | str = SyncMode.BLOCK,
        interval_ms: float = 10.0,
        disk: Disk | None = None,
        parameters: Mapping[str, int] | None = None,
        clock: Clock = SYSTEM_CLOCK,
        executor: Executor = THREADS,
        rng: random.Random | None = None,
        node: int | None = None,
    ) -> Self:
        """Open or create the log in ``directory``: find its end, cut a torn tail, and be ready to append.

        A torn tail is told in :attr:`torn_tail`, a :attr:`suspect` one beside it. Of the blocks, only those of the last
        segment are read and verified; :meth:`replay` and :meth:`read` verify what they give.

        Args:
            directory: Where the log is or will be.
            cluster_id: Whose log it is; ``None`` takes the directory's, or a new random one.
            segment_bytes: Size of new segments, which bounds that of a block; whole pages, 64 KiB or more.
            sync_mode: When an appended block may be answered for.
            interval_ms: How often mode ``interval`` syncs.
            disk: The operating system's files where not given.
            parameters: Numbers on which the meaning of the log depends: a new log keeps them in its metadata, one that
                is there keeps its own.
            clock: What background work waits by.
            executor: What background work runs on.
            rng: Where a random cluster id and the log's id come from; the operating system where not given.
            node: Number of the node among those that hold the log, from 1. The log keeps it, and from then on what the
                node promises (:attr:`promises`). None or 0 takes the directory's.

        Raises:
            LogInUse: another process has it open.
            LogReadOnly: the directory cannot be written.
            LogForeign: it is another cluster's.
            LogOfAnotherNode: it is another node's.
            LogVersionUnsupported: it is in a newer format.
            LogFull: there is no room for what a log needs at least.
            LogBusy: the system is short of something else that it needs at least.
            LogCannotGrow: the file system refuses what a log needs to grow.
            LogCorrupted: its end is damaged, or a segment is missing. Nothing has been changed.
            OSError: the disk failed.
            ValueError: a setting is out of range.
        """
        if segment_bytes < SEGMENT_BYTES_MIN or segment_bytes % PAGE_BYTES:
            raise ValueError(f"segments of {segment_bytes} bytes: use whole pages of {PAGE_BYTES}, 64 KiB or more")
        if interval_ms <= 0:
            raise ValueError(f"a sync interval of {interval_ms} ms: use more than 0")
        disk, rng = disk or Disk(), rng or random.SystemRandom()
        with contextlib.ExitStack() as opened, shortages_told(directory, PAGE_BYTES):
            lock = DirectoryLock.acquire(directory)
            opened.callback(lock.release)
            opened.callback(disk.release_spares)
            disk.hold_spares()
            is_empty = not segment_files(directory)
            metadata = adopt(directory, cluster_id, node, parameters or {}, disk, rng, is_empty=is_empty)
            promises = PromiseStore(directory, metadata, disk) if metadata.node else None
            if promises is not None:
                opened.callback(promises.close)
            recovered = recover_with(directory, metadata, promises, disk)
            truncated_path(directory).unlink(missing_ok=True)
            for path in recovered.given_up:
                disk.rename(path, recycled_path(path))
            probe_growth(directory, segment_bytes, disk)
            log = cls(
                directory,
                lock,
                metadata,
                promises,
                recovered,
                cut_what_is_behind(directory, metadata, promises, recovered, segment_bytes, disk),
                segment_bytes=segment_bytes,
                sync_mode=SyncMode(sync_mode),
                interval_ms=interval_ms,
                disk=disk,
                clock=clock,
                executor=executor,
            )
            opened.pop_all()
            return log

    @property
    def durable_index(self) -> int:
        """Highest index known to be synced, in every sync mode."""
        return self._end.durable_index

    @property
    def background_wait(self) -> DiskWait:
        """While the log waits for the disk in the background: in mode ``interval`` nothing is synced meanwhile."""
        return self._maintenance.disk_wait

    def on_failure(self, tell: Callable[[LogFailed], object]) -> None:
        """Have ``tell`` called where a sync in the background fails, by its thread: no call may come to show it."""
        self._on_failure = tell
        if self._failure is not None:
            tell(LogFailed(self.directory, self._failure))

    def reserve(self, byte_count: int) -> None:
        """Set room aside for one block that takes at most ``byte_count`` bytes (``Block.stored_bytes``).

        Called once per block before it is sealed, in order, so that a full disk turns transactions away while they can
        still be refused; a block appended without it gets its room then. Waits while a segment is being prepared.

        Raises:
            LogFull: there is no room; nothing is broken, try again later.
            LogBusy: the system is short of something else; nothing is broken, try again later.
            LogFailed: the log takes no more.
            ValueError: the block is larger than a segment.
        """
        self._check()
        self._end.reserve(byte_count)

    def append(self, blocks: Sequence[Block]) -> None:
        """Write blocks that follow the last one, with one call of the system per run within a segment; does not sync.

        Their buffers are page-aligned and free again on return. Called by one thread.

        Raises:
            LogFailed: the disk failed, and the log takes no more.
            LogFull: there is no room for a block without a reservation; nothing has been written.
            LogBusy: the system is short of something that such a block takes; nothing has been written.
            ValueError: a block does not follow the one before it; nothing has been written.
        """
        self._check()
        tip = self._tip
        for block in blocks:
            if not tip.is_followed_by(block):
                raise ValueError(f"{block!r} does not follow block {tip.index} at position {tip.next_position}")
            if block.cluster_id != self.cluster_id:
                raise ValueError(f"{block!r} is of cluster {block.cluster_id:016x}, not {self.cluster_id:016x}")
            tip = ChainTip.of(block)
        try:
            self._end.write(blocks)
        except OSError as error:
            raise self._fail(error) from error
        self._tip = tip
        self._index.last_index = tip.index

    def sync(self) -> int:
        """Return the highest index that may be answered for; in mode ``block``, after syncing all that was appended.

        Raises:
            LogFailed: the disk failed, and the log takes no more: what a failed sync left on the disk is unknown.
        """
        self._check()
        if self.sync_mode is SyncMode.BLOCK:
            self._sync()
            return self.durable_index
        return self.last_index

    def truncate_after(self, index: int) -> None:
        """Remove all blocks behind block ``index``, durably; 0 empties a log that holds its first block.

        A crash in the middle leaves the log as it was, or one that ends with ``index`` when it is opened again. Called
        by the thread that appends, while no other reserves; reservations are void afterwards. Blocks that somebody
        holds stay as they are. What remains is durable on return.

        Raises:
            LogFull: there is no room for a copy of one segment and a page; nothing has been changed.
            LogBusy: the system is short of what these take; nothing has been changed.
            LogFailed: the disk failed, and the log takes no more.
            LogRecycled: block ``index`` is older than the log reaches back; nothing has been changed.
            LogMoved: the log's directory was moved; nothing has been changed.
            LogCorrupted: block ``index`` is damaged; nothing has been changed.
            ValueError: the log ends before ``index``.
        """
        self._check()
        if not 0 <= index <= self.last_index:
            raise ValueError(f"cut after block {index}: the log ends with block {self.last_index}")
        if index == self.last_index:
            return
        if index == 0 and self.first_index > 1:
            raise LogRecycled(index, self.first_index)
        self._lock.check_place()
        with self._maintenance.held:
            try:
                self._tip = self._end.truncate_after(index, self._watermark.lower_to)
            except OSError as error:
                raise self._fail(error) from error

    def give_up_after(self, index: int) -> None:
        """Remove the blocks behind block ``index``, one of which is damaged, and give up the node's vote before.

        It is for a log with peers, whose replay found the damage: the node may have acknowledged what it removes, and
        does not vote until others gave it again. The rest is as of :meth:`truncate_after`.

        Raises:
            PromiseLost: the node has no record to give up its vote in, and has none; nothing has been changed.
            LogFailed: the disk failed, and the log takes no more.
            LogError: as of :meth:`truncate_after`; the vote has been given up.
        """
        assert self.promises is not None, "a log that only one node has gives up nothing"
        self.promises.store(replace(self.promises.read(), voting=False))
        self.truncate_after(index)

    def recycle_below(self, index: int) -> int:
        """Give up whole segments whose blocks are all below ``index`` and durable, for new ones; return how many.

        A segment that somebody still reads is removed instead; their blocks stay as they are.

        Raises:
            LogMoved: the log's directory was moved.
            OSError: the disk failed; a segment may be neither in the log nor used again until the log is opened.
        """
        count = 0
        self._lock.check_place()
        with self._maintenance.held:
            first = self._index.first_kept(min(index, self.durable_index))
            if first is None:
                return 0
            self._beginning.move_to(LogBeginning(first.number, first.first_index))
            for segment, is_read in self._index.release_below(min(index, self.durable_index)):
                if is_read:
                    self._disk.remove(segment.path)
                else:
                    self._end.recycle(segment.path)
                count += 1
        return count

    def close(self) -> None:
        """Sync, in every mode, and let go of the directory.

        Raises:
            LogFailed: the sync failed.
        """
        if self._closed:
            return
        self._closed = True
        self._maintenance.stop()
        self._end.stop_preparing()
        try:
            if self._failure is None:
                self._sync()
                self._watermark.follow(self.durable_index)
        finally:
            self._end.close()
            self._watermark.close()
            self._beginning.close()
            if self.promises is not None:
                self.promises.close()
            self._disk.release_spares()
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _sync(self) -> None:
        try:
            self._end.sync(self.last_index)
        except OSError as error:
            raise self._fail(error) from error

    def _sync_in_background(self) -> None:
        self._check()
        try:
            self._sync()
        except LogFailed as error:
            self._on_failure(error)
            raise

    def _check(self) -> None:
        if self._failure is not None:
            raise LogFailed(self.directory, self._failure)

    def _fail(self, error: OSError) -> LogFailed:
        self._failure = str(error.strerror or error)
        return LogFailed(self.directory, self._failure)
