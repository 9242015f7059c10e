"""One pass over a log: yields every block of its chain, verified, and finds where the log ends and why.

The chain ends where no whole block with the next index and the right previous hash stands. That is the log's end, or a
crash cut off what was being written (a *torn tail*: nobody had been told that it was durable), or durable blocks were
damaged since (*corruption*: refuse to start). What tells the last two apart, for a chain that wants block ``i`` next:

* A later block says that its writer knew block ``i`` to be synced (``durable_index >= i``), or the durable mark does.
* A later segment is in use. A segment is synced before the first byte goes into the next.

Either proves corruption; neither is possible after a crash, whatever part of the unsynced writes reached the disk.
Stale blocks cannot prove it wrongly: those in a recycled segment have indices below ``i``; those left behind a cut tail
were never durable, so no block among them claims more than what came before the cut.
"""

import itertools
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from replication.log.block import BLOCK_MAGIC, BLOCK_VERSION, NO_HASH, PAGE_BYTES, Block, stated_bytes
from replication.log.disk import Disk
from replication.log.durable_watermark import read_durable_watermark
from replication.log.errors import (
    BlockInvalid,
    BlockVersionUnsupported,
    LogCorrupted,
    LogForeign,
    LogVersionUnsupported,
    SegmentInvalid,
)
from replication.log.segment import Segment, segment_files, segment_number
from replication.log.sequential_reader import SequentialReader

_PAGE_WORDS: Final = PAGE_BYTES // 4


@dataclass(frozen=True, slots=True)
class TornTail:
    """What a crash left of writes that had not been synced, and had been promised to nobody."""

    file: Path
    offset: int
    index: int
    what: str

    def __str__(self) -> str:
        return (
            f"torn tail in {self.file} at offset {self.offset}, where block {self.index} was being written: {self.what}"
        )


class LogRecovery:
    """Iterate once, to the end; then the attributes tell what was found. Changes nothing.

    Blocks are views of a buffer that the next step overwrites. Iteration raises :class:`LogCorrupted`,
    :class:`LogForeign`, :class:`LogVersionUnsupported` and ``OSError``.

    * ``segments``: those that hold blocks, in order; ``unused``: the files behind them.
    * ``next_index``, ``next_position``, ``last_hash``, ``last_time_ns``: what the chain would go on with.
    * ``end``: offset behind the last block in the last segment.
    * ``torn``: the torn tail, if there is one.
    """

    def __init__(self, directory: Path, cluster_id: int, disk: Disk) -> None:
        self._directory, self._cluster_id, self._disk = directory, cluster_id, disk
        self.segments: list[Segment] = []
        self.unused: list[Path] = []
        self.next_index = 1
        self.next_position = 0
        self.last_hash: bytes | None = NO_HASH
        self.last_time_ns = 0
        self.end = PAGE_BYTES
        self.torn: TornTail | None = None
        self._durable = 0

    def __iter__(self) -> Iterator[Block]:
        self._durable = read_durable_watermark(self._directory, self._cluster_id)
        files = segment_files(self._directory)
        self._check_numbers(files)
        reader = SequentialReader(self._disk)
        try:
            why = "no segment is there"
            for place, path in enumerate(files):
                reader.open(path)
                try:
                    segment = self._next_segment(path, reader)
                except SegmentInvalid as error:
                    why = str(error)
                    self.unused = files[place:]
                    break
                if segment is None:
                    self.unused = files[place:]
                    break
                self.segments.append(segment)
                why = yield from self._blocks(segment, reader)
            self._judge_end(why, reader)
        finally:
            reader.close()

    def _check_numbers(self, files: list[Path]) -> None:
        for before, path in itertools.pairwise(files):
            if segment_number(path) != segment_number(before) + 1:
                raise LogCorrupted(path, 0, None, f"the segments between {before.name} and this one are missing")

    def _next_segment(self, path: Path, reader: SequentialReader) -> Segment | None:
        """Return the segment if the chain goes on in it; ``None`` if it was never used."""
        number = segment_number(path)
        try:
            segment = Segment.parse(path, reader.at(0)[:PAGE_BYTES])
        except SegmentInvalid as error:
            if not self.segments and number > 1:
                raise LogCorrupted(path, 0, None, f"{error}, and it is the first segment there is") from error
            raise
        if segment is None:
            if not self.segments and number > 1:
                raise LogCorrupted(path, 0, None, f"segments 1 to {number - 1} are missing")
            return None
        if segment.cluster_id != self._cluster_id:
            raise LogForeign(path, segment.cluster_id, self._cluster_id)
        if not self.segments:
            self.next_index, self.next_position = segment.first_index, segment.first_position
            # Of a log whose beginning was recycled, the first block's predecessor is known only to the block itself.
            self.last_hash = NO_HASH if segment.first_index == 1 else None
        elif (segment.first_index, segment.first_position) != (self.next_index, self.next_position):
            what = f"the chain breaks off, and segment {number} goes on at block {segment.first_index}"
            raise LogCorrupted(self.segments[-1].path, self.end, self.next_index, what)
        if segment.segment_bytes != reader.file_bytes:
            what = f"the file has {reader.file_bytes} bytes, not {segment.segment_bytes}"
            raise LogCorrupted(path, 0, self.next_index, what)
        return segment

    def _blocks(self, segment: Segment, reader: SequentialReader) -> Generator[Block, None, str]:
        """Yield the chain's blocks in a segment; return why it ends."""
        self.end = PAGE_BYTES
        while self.end < segment.segment_bytes:
            try:
                block = self._next_block(segment, reader)
            except BlockInvalid as error:
                return str(error)
            except BlockVersionUnsupported as error:
                raise LogVersionUnsupported(segment.path, error.found, BLOCK_VERSION) from error
            self._durable = max(self._durable, block.durable_index)
            yield block
            segment.remember(block.index, self.end)
            self.end += block.stored_bytes
            self.next_index += 1
            self.next_position = block.next_position
            self.last_hash = block.hash
            self.last_time_ns = block.time_ns
        return "the segment is full"

    def _next_block(self, segment: Segment, reader: SequentialReader) -> Block:
        left = segment.segment_bytes - self.end
        view = reader.at(self.end)
        block = Block.parse(reader.at(self.end, min(stated_bytes(view), left))[:left])
        if block.cluster_id != self._cluster_id:
            raise BlockInvalid(f"the block is cluster {block.cluster_id:016x}'s")
        if block.index != self.next_index:
            raise BlockInvalid(f"an older block {block.index} stands here")
        if block.first_position != self.next_position or self.last_hash not in (None, block.previous_hash):
            raise BlockInvalid("the block does not follow the one before it")
        block.verify()
        return block

    def _judge_end(self, why: str, reader: SequentialReader) -> None:
        """Tell the end of the log from a torn tail, and both from corruption."""
        used = [segment.path for segment in self.segments]
        file, offset = (used[-1], self.end) if used else ((self.unused or [self._directory])[0], 0)
        torn = False
        for path in used[-1:] + self.unused:
            reader.open(path)
            if path in self.unused and reader.at(0)[:PAGE_BYTES].any():
                torn = True
                if self._is_used(path, reader):
                    what = f"{why}, yet the later segment {path.name} is in use"
                    raise LogCorrupted(file, offset, self.next_index, what)
            for block in self._headers_from(reader, offset if path == file else PAGE_BYTES):
                torn = True
                self._durable = max(self._durable, block.durable_index)
        if self._durable >= self.next_index:
            raise LogCorrupted(
                file, offset, self.next_index, f"{why}, yet block {self._durable} was known to be durable"
            )
        if torn:
            self.torn = TornTail(file, offset, self.next_index, why)

    def _is_used(self, path: Path, reader: SequentialReader) -> bool:
        try:
            return Segment.parse(path, reader.at(0)[:PAGE_BYTES]) is not None
        except SegmentInvalid:
            return False

    def _headers_from(self, reader: SequentialReader, offset: int) -> Iterator[Block]:
        """Yield headers of this log, at or behind the chain's end, that the chain did not reach."""
        while offset < reader.file_bytes:
            view = reader.at(offset)
            whole = view[: view.size - view.size % PAGE_BYTES]
            if not whole.size:
                return
            for page in np.flatnonzero(whole.view(np.uint32)[::_PAGE_WORDS] == BLOCK_MAGIC).tolist():
                try:
                    block = Block.parse_header(whole[page * PAGE_BYTES :])
                except (BlockInvalid, BlockVersionUnsupported):
                    continue
                if block.cluster_id == self._cluster_id and block.index >= self.next_index:
                    yield block
            offset += whole.size
