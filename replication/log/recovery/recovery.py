"""Recovery: the end of a log, found when it is opened, before its blocks are read from the front.

**Recovery** reads as little as tells the end: the header of every segment, and all blocks of the last one in use, with
whatever stands behind them. The chain ends where no whole block with the next index and the right previous hash stands.
That is the log's end, or a power cut tore what was being written (a *torn tail*: nobody had been told that it was
durable), or durable blocks were damaged since. What tells the last two apart, for a chain that wants block ``i`` next:

* A later block says that block ``i`` was synced when it was written (``durable_index >= i``), or the durable watermark
  does.
* A later segment is in use. A segment is synced before the first byte goes into the next.

Either proves damage; neither is possible after a power cut, whatever part of the unsynced writes reached the disk. What
a block says is what the log on *this* disk knew when it wrote the block, whoever sealed it: what its leader knew to be
synced on another disk proves nothing here, and an appended block says nothing of it (`SegmentWriter`).

What follows from damage depends on who else has the blocks. A log that only one node has is *corrupted*: refuse to
start, and change nothing. Where there are other nodes, blocks are missing that this one may have acknowledged, and it
does not know which: they are *suspect*. The node starts with what stands before them, says neither that it has them nor
that it never had them, and does not vote until it got them again.

**A cut** that was begun (`replication.log.directory.cut_intention`) is finished, whatever stands behind it.

Segments before the last cannot change that verdict, so recovery does not read them: each was synced in full before the
next was written, so whatever is wrong in one is corruption, and its blocks claim only what is below the last segment's
first index. **Replay** (`replication.log.recovery.replay`) finds it there: it verifies every block that it gives, by
its hash and by the one before it, up to the end that recovery found. So corruption is found before a block behind it is
applied or served, and the torn tail, which is all that opening a log cuts, never reaches into a segment that was not
read in full.

The last segment is read twice, once by each, which is what the separation costs: at most one segment more per start,
whatever the log's length. Of a log of five segments beside two prepared ones, on a busy machine, opening and replaying
took 1.12 times as long as one pass that did both (median of 12 runs each). Keeping the segment in memory in between
took more processor time than reading it again, in page faults; so did reading ahead in threads, in hand-overs.

**Stale blocks** cannot pass for the log's, nor prove it corrupted. A block is stale where its space was given another
use. There are three ways, and none leaves a block of an index that the log does not hold already:

* A segment recycled at the front of the log holds indices below the log's first.
* Behind a torn tail nothing is left: the last segment is zeroed there, and files behind it are removed.
* Behind a block at which the log was cut (`replication.log.recovery.truncation`) stood durable blocks, which claim
  that their predecessors are durable and would follow the chain perfectly. They are never left in space that is used
  again: the files behind the cut are removed, not recycled, and the last segment is replaced by a copy that ends at the
  cut, or zeroed behind it while nobody reads. Until all of that is durable nothing is appended.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from replication.log.block import EMPTY_CHAIN, PAGE_BYTES, Block, ChainTip
from replication.log.directory.cut_intention import Cut, read_cut
from replication.log.directory.durable_watermark import read_durable_watermark
from replication.log.disk import Disk
from replication.log.errors import BlockInvalid, BlockUnsupported, LogCorrupted, LogVersionUnsupported, SegmentInvalid
from replication.log.format.header import BLOCK_MAGIC, HEADER_BYTES, place_of
from replication.log.recovery.replay import tip_before
from replication.log.segments.segment import Segment
from replication.log.segments.segment_discovery import SegmentsFound, find_segments
from replication.log.segments.sequential_reader import SequentialReader

_PAGE_WORDS: Final = PAGE_BYTES // 4


@dataclass(frozen=True, slots=True)
class TornTail:
    """What a power cut left of writes that had not been synced, and had been promised to nobody."""

    file: Path
    offset: int
    index: int
    what: str
    last_index: int
    """Highest index of a block that was being written: up to it, damage to the group synced last looks the same."""

    def __str__(self) -> str:
        return (
            f"torn tail in {self.file} at offset {self.offset}, where block {self.index} was being written: {self.what}"
        )


@dataclass(frozen=True, slots=True)
class SuspectTail:
    """Blocks that were durable here, or may have been, and are damaged or missing: other nodes have to give them."""

    file: Path
    offset: int
    first_index: int
    last_index: int
    """Highest index that this node may have acknowledged."""
    what: str

    def __str__(self) -> str:
        return (
            f"blocks {self.first_index} to {self.last_index} may have been durable and cannot be read, from offset "
            f"{self.offset} of {self.file} on: {self.what}"
        )


@dataclass(frozen=True, slots=True)
class RecoveredLog:
    """Where a log ends, and why."""

    segments: list[Segment]
    """Those that hold blocks, in order; the last may hold none yet."""
    unused: list[Path]
    """The files behind them."""
    tip: ChainTip
    """What the next block has to follow."""
    end: int
    """Offset behind the last block in the last segment."""
    torn_tail: TornTail | None
    given_up: list[Path]
    """Files before the log's beginning, which a crash kept from being recycled."""
    suspect: SuspectTail | None = None
    """Only where the log has peers."""
    cut: Cut | None = None
    """The cut that has to be finished."""


def recover(
    directory: Path, cluster_id: int, disk: Disk, *, has_peers: bool = False, commit_index: int = 0
) -> RecoveredLog:
    """Find the end of a log that nobody writes. Changes nothing.

    Where other nodes have the log, too (``has_peers``), damage to blocks at its end that had been durable makes them
    suspect; ``commit_index`` is then what was known to be committed, and so durable here.

    Raises:
        LogCorrupted: blocks at the end of the log that had been durable are damaged or missing, or a segment is.
        LogForeign: a segment is another cluster's.
        LogVersionUnsupported: a segment or one of the last blocks is in a newer format.
        OSError: a file cannot be read.
    """
    found = find_segments(directory, cluster_id, disk)
    cut = read_cut(directory, cluster_id)
    if cut is not None:
        return _recover_cut(directory, found, cut, disk)
    tip, end, reason = EMPTY_CHAIN, 0, found.end_reason
    leftover = _Leftover(cluster_id, max(read_durable_watermark(directory, cluster_id), commit_index))
    with SequentialReader(disk) as reader:
        if found.used:
            last = found.used[-1]
            reader.open(last.path)
            tip, end, reason = _follow_chain(last, tip_before(last), reader)
            leftover.look_for(last.path, tip.index + 1, end, reader)
            if end == last.segment_bytes:
                reason = found.end_reason
            if tip.index < last.first_index:
                tip = _tip_of_predecessor(found.used, reader)
        file = [*(segment.path for segment in found.used[-1:]), *found.unused, directory][0]
        next_index = tip.index + 1
        damage = None
        for path in found.unused:
            reader.open(path)
            if damage is None and _is_used(path, reader):
                damage = f"{reason}, yet the later segment {path.name} is in use"
                if not has_peers:
                    raise LogCorrupted(file, end, next_index, damage)
            leftover.look_for(path, next_index, 0, reader)
    if damage is None and leftover.durable_index >= next_index:
        damage = f"{reason}, yet block {leftover.durable_index} was known to be durable"
        if not has_peers:
            raise LogCorrupted(file, end, next_index, damage)
    suspect = torn_tail = None
    if damage is not None:
        last_index = max(next_index, leftover.durable_index, leftover.last_index)
        suspect = SuspectTail(file, end, next_index, last_index, damage)
    elif leftover.found:
        torn_tail = TornTail(file, end, next_index, reason, max(next_index, leftover.last_index))
    return RecoveredLog(found.used, found.unused, tip, end, torn_tail, found.given_up, suspect)


def _recover_cut(directory: Path, found: SegmentsFound, cut: Cut, disk: Disk) -> RecoveredLog:
    """Find where a cut that was begun has to end the log; nothing behind it is looked at."""
    kept = [segment for segment in found.used if segment.first_index <= cut.index]
    behind = [segment.path for segment in found.used[len(kept) :]] + found.unused
    tip, end, file, reason = EMPTY_CHAIN, 0, directory, found.end_reason
    if kept:
        last = kept[-1]
        file = last.path
        with SequentialReader(disk) as reader:
            reader.open(last.path)
            tip, end, reason = _follow_chain(last, tip_before(last), reader, cut.index)
    if tip.index != cut.index or tip.hash is None or tip.hash.ljust(len(cut.hash), b"\0") != cut.hash:
        what = f"{reason}, and the log was being cut behind block {cut.index}"
        raise LogCorrupted(file, end, tip.index + 1, what)
    return RecoveredLog(kept, behind, tip, end, None, found.given_up, None, cut)


def _follow_chain(
    segment: Segment, tip: ChainTip, reader: SequentialReader, to_index: int | None = None
) -> tuple[ChainTip, int, str]:
    """Follow the chain through the open segment, no further than to block ``to_index``.

    Returns its tip, the offset behind its last block, and why it ends.
    """
    offset = PAGE_BYTES
    while offset < segment.segment_bytes:
        if tip.index == to_index:
            return tip, offset, f"block {to_index} stands here"
        try:
            block = reader.next_block(segment, offset, tip)
        except BlockInvalid as error:
            return tip, offset, str(error)
        segment.add_offset(block.index, offset)
        offset += block.stored_bytes
        tip = ChainTip.of(block)
    return tip, offset, "the segment is full"


def _tip_of_predecessor(segments: Sequence[Segment], reader: SequentialReader) -> ChainTip:
    """Return the tip where the last segment holds no block yet: that of the segment before it, which is whole."""
    last = segments[-1]
    if len(segments) == 1:
        if last.first_index > 1:
            what = "no whole block stands here, where at least one had been durable when the segments before it went"
            raise LogCorrupted(last.path, PAGE_BYTES, last.first_index, what)
        return EMPTY_CHAIN
    before = segments[-2]
    reader.open(before.path)
    tip, end, reason = _follow_chain(before, tip_before(before), reader)
    if (tip.index + 1, tip.next_position) != (last.first_index, last.first_position):
        what = f"{reason}, yet the later segment {last.path.name} goes on at block {last.first_index}"
        raise LogCorrupted(before.path, end, tip.index + 1, what)
    return tip


def _is_used(path: Path, reader: SequentialReader) -> bool:
    try:
        return Segment.parse(path, reader.at(0)[:PAGE_BYTES]) is not None
    except SegmentInvalid:
        return False


class _Leftover:
    """What stands behind the end of the chain: writes that no sync covered, or blocks that were durable once."""

    def __init__(self, cluster_id: int, durable_index: int) -> None:
        self._cluster_id = cluster_id
        self.found = False
        """Whether anything stands there."""
        self.durable_index = durable_index
        """Highest index that the watermark or a block claims to have been durable."""
        self.last_index = 0
        """Highest index of a block that stands there."""

    def look_for(self, path: Path, next_index: int, offset: int, reader: SequentialReader) -> None:
        """Look through the open file from ``offset`` on, where no block below ``next_index`` counts.

        Raises:
            LogVersionUnsupported: such a block is in a newer format.
        """
        if offset == 0:
            # A segment's header, or what is left of it, tells as much as a block.
            self.found |= bool(reader.at(0)[:PAGE_BYTES].any())
            offset = PAGE_BYTES
        while offset < reader.file_bytes:
            view = reader.at(offset)
            pages = view[: view.size - view.size % PAGE_BYTES]
            if not pages.size:
                return
            for page in np.flatnonzero(pages.view(np.uint32)[::_PAGE_WORDS] == BLOCK_MAGIC).tolist():
                try:
                    block = Block.parse_header(pages[page * PAGE_BYTES :])
                except BlockInvalid:
                    continue
                except BlockUnsupported as error:
                    # Cutting it off would be a judgement on what this program cannot read.
                    start = page * PAGE_BYTES
                    found_id, index = place_of(pages[start : start + HEADER_BYTES].tobytes())
                    if found_id == self._cluster_id and index >= next_index:
                        raise LogVersionUnsupported(path, error.what) from error
                    continue
                if block.cluster_id == self._cluster_id and block.index >= next_index:
                    self.found = True
                    self.last_index = max(self.last_index, block.index)
                    self.durable_index = max(self.durable_index, block.durable_index)
            offset += pages.size
