"""The end of a log: the segment that is written to and those prepared behind it, and how the end is moved back."""

from collections.abc import Callable, Sequence
from pathlib import Path

from penstock.host.clock import Clock
from penstock.host.executor import Executor
from replication.log.block import EMPTY_CHAIN, PAGE_BYTES, Block, ChainTip
from replication.log.directory.cut_intention import Cut, forget_cut, record_cut
from replication.log.disk import Disk
from replication.log.errors import LogError
from replication.log.recovery.truncation import copy_segment, remove_last_segments
from replication.log.segments.segment import Segment, segment_files, truncated_path
from replication.log.segments.segment_index import SegmentIndex, read_mapped
from replication.log.segments.segment_preallocator import SegmentPreallocator
from replication.log.segments.segment_writer import SegmentWriter
from replication.log.shortage import shortages_told


class LogEnd:
    """A writer and a preallocator, which change together. One thread reserves, one writes and truncates, any syncs."""

    def __init__(
        self,
        directory: Path,
        index: SegmentIndex,
        prepared: Sequence[Path],
        end: int,
        *,
        cluster_id: int,
        log_id: int,
        segment_bytes: int,
        disk: Disk,
        clock: Clock,
        executor: Executor,
        check_place: Callable[[], None],
    ) -> None:
        """Get ready to append behind byte ``end`` of the last segment; those ``prepared`` follow it.

        Raises:
            OSError: a segment cannot be opened or synced; nothing stays open.
        """
        self._directory, self._index = directory, index
        self._cluster_id, self._log_id, self._segment_bytes = cluster_id, log_id, segment_bytes
        self._disk, self._clock, self._executor, self._check_place = disk, clock, executor, check_place
        self._continue(prepared, end)

    @property
    def durable_index(self) -> int:
        """Highest index known to be synced."""
        return self._writer.durable_index

    def start(self) -> None:
        """Start preparing segments."""
        self._preallocator.start()

    def reserve(self, byte_count: int) -> None:
        """See `SegmentWriter.reserve`."""
        self._writer.reserve(byte_count)

    def write(self, blocks: Sequence[Block]) -> None:
        """See `SegmentWriter.write`."""
        self._writer.write(blocks)

    def sync(self, index: int) -> None:
        """See `SegmentWriter.sync`."""
        self._writer.sync(index)

    def recycle(self, path: Path) -> None:
        """See `SegmentPreallocator.recycle`."""
        self._preallocator.recycle(path)

    def stop_preparing(self) -> None:
        """Prepare no more segments, and give out none."""
        self._preallocator.close()

    def close(self) -> None:
        """Let go of all files; nothing is synced."""
        self._preallocator.close()
        self._writer.close()

    def truncate_after(self, index: int, lower_watermark: Callable[[int], None]) -> ChainTip:
        """Remove all blocks behind block ``index``, durably; return what the next block has to follow.

        `replication.log.recovery.truncation` argues the order of the steps, of which ``lower_watermark`` is one.

        Raises:
            LogFull: there is no room for a copy of one segment; nothing has been changed.
            LogBusy: the system is short of what the copy takes; nothing has been changed.
            LogCorrupted: block ``index`` is damaged; nothing has been changed.
            OSError: the disk failed.
        """
        run = self._index.find(index) if index else None
        end, tip, copy = PAGE_BYTES, EMPTY_CHAIN, None
        if run is not None:
            offset, block = next(read_mapped(run, index))
            end, tip = offset + block.stored_bytes, ChainTip.of(block)
            if run.to_index > index:
                copy = self._copy(run.segment, end)
        self._record_cut(tip)
        self._preallocator.close()
        self._writer.close_at(index)
        prepared = segment_files(self._directory)
        del prepared[: prepared.index(self._index.segments[-1].path) + 1]
        removed = self._index.truncate_after(index)
        lower_watermark(self.durable_index)
        if removed:
            remove_last_segments(removed, prepared, self._disk)
            prepared = []
        if run is not None and copy is not None:
            self._disk.rename(copy, run.segment.path)
            self._index.drop_mapping(run.segment.number)
        forget_cut(self._directory, self._disk)
        self._continue(prepared, end)
        self._preallocator.start()
        return tip

    def _continue(self, prepared: Sequence[Path], end: int) -> None:
        segments = self._index.segments
        next_number = (segments[-1].number if segments else 0) + len(prepared) + 1
        self._preallocator = SegmentPreallocator(
            self._directory,
            self._disk,
            self._segment_bytes,
            prepared,
            next_number,
            self._clock,
            self._executor,
            self._check_place,
        )
        self._writer = SegmentWriter(
            self._index, self._preallocator, self._disk, self._cluster_id, self._log_id, self._segment_bytes
        )
        if segments:
            try:
                self._writer.continue_in(segments[-1], end, self._index.last_index)
            except BaseException:
                self.close()
                raise

    def _record_cut(self, tip: ChainTip) -> None:
        assert tip.hash is not None
        try:
            with shortages_told(self._directory, PAGE_BYTES):
                record_cut(self._directory, self._cluster_id, Cut(tip.index, tip.hash), self._disk)
        except LogError:
            truncated_path(self._directory).unlink(missing_ok=True)
            raise

    def _copy(self, segment: Segment, end: int) -> Path:
        with shortages_told(self._directory, segment.segment_bytes):
            return copy_segment(segment, end, self._disk)
