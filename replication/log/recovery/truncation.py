"""Truncation: removes the end of a log, so that a crash at any moment leaves a log.

**A torn tail** is cut when the log is opened: nobody was told of its blocks, none claims that another is durable, so
they may go in any order. The rest of the last segment is zeroed, and the files behind it are removed.

**Durable blocks** have to go where a follower's log differs from its leader's. They are evidence that their
predecessors were durable, so a log that loses some of them looks damaged; and those that stay somewhere would follow
the chain perfectly and could be taken for the log's later. Hence this order, in which each step is durable before the
next begins:

1. A copy of the last segment that stays, up to the cut and zeros behind it, is written beside the log, as a file that
   recovery does not look at. Where there is no room for it, nothing has changed.
2. The intention is recorded (`replication.log.directory.cut_intention`). From here on the log ends at the cut for
   whoever opens it, and whatever a crash leaves behind the cut is nobody's evidence.
3. The durable watermark is lowered to the cut.
4. Where segments have to go, the prepared ones behind them are renamed to recycled ones, from the last one down, so
   that numbers stay without gaps. They hold nothing, or blocks from before the log's first.
5. Segments behind the cut are removed, from the last one down. They are removed and not recycled, so that none of their
   blocks is left in space that the log writes again. Who has one mapped keeps its bytes.
6. The copy is renamed over the segment that it was made of, which is atomic: readers of the old file keep it.
7. The intention is removed. Only then blocks are appended again, so a log never holds some of either.

A crash before step 2 leaves the log as it was. After a crash behind it the cut is finished when the log is opened, by
`cut_tail`: nobody reads then, so the last segment is zeroed behind the cut where it stands.

**A suspect tail** (`replication.log.recovery.recovery`) is cut the same way, once it is recorded that the node does not
vote: from then on its disk does not tell any more what it may have acknowledged.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from pooling.buffers import aligned_buffer
from replication.log.block import PAGE_BYTES
from replication.log.disk import Disk
from replication.log.recovery.recovery import RecoveredLog
from replication.log.segments.segment import Segment, recycled_path, truncated_path

_COPY_BYTES = 8 << 20


def cut_tail(log: RecoveredLog, segment_bytes: int, disk: Disk) -> list[Path]:
    """Remove what stands behind the log's end, and prepared segments of another size; return the prepared ones left.

    Raises:
        OSError: the disk failed; the log can be recovered again.
    """
    has_tail = any(tail is not None for tail in (log.torn_tail, log.suspect, log.cut))
    if has_tail and log.segments:
        _zero_from(log.segments[-1], log.end, disk)
    if not has_tail and all(path.stat().st_size == segment_bytes for path in log.unused):
        return log.unused
    # From the last one down, so that a crash in between leaves no gap in the numbers.
    for path in reversed(log.unused):
        disk.remove(path)
    return []


def copy_segment(segment: Segment, end: int, disk: Disk) -> Path:
    """Write a copy of a segment that ends at byte ``end``, with zeros behind it, and sync it; return its path.

    Raises:
        OSError: there is no room for it, or the disk failed; no copy is left.
    """
    path = truncated_path(segment.path.parent)
    source = disk.open(segment.path, os.O_RDONLY)
    try:
        target = disk.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        try:
            disk.allocate(target, segment.segment_bytes)
            for offset in range(0, segment.segment_bytes, _COPY_BYTES):
                buffer = aligned_buffer(min(_COPY_BYTES, segment.segment_bytes - offset))
                if offset < end:
                    disk.read(source, buffer, offset)
                    buffer[end - offset :] = 0
                disk.write(target, [buffer], offset)
            disk.sync(target)
        finally:
            disk.close(target)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        disk.close(source)
    return path


def remove_last_segments(removed: Sequence[Segment], prepared: Sequence[Path], disk: Disk) -> None:
    """Carry out steps 4 and 5: take out the prepared segments, and those in use from the first of ``removed`` on.

    Raises:
        OSError: the disk failed; the log has to be recovered.
    """
    for path in reversed(prepared):
        disk.rename(path, recycled_path(path))
    for segment in reversed(removed):
        disk.remove(segment.path)


def _zero_from(segment: Segment, offset: int, disk: Disk) -> None:
    """Fill a segment with zeros from ``offset`` to its end."""
    if offset == segment.segment_bytes:
        return
    assert offset >= PAGE_BYTES
    fd = disk.open(segment.path, os.O_RDWR)
    try:
        disk.write(fd, [aligned_buffer(segment.segment_bytes - offset)], offset)
        disk.sync(fd)
    finally:
        disk.close(fd)
