"""Truncation: removes the end of a log, so that a crash at any moment leaves a log.

**A torn tail** is cut when the log is opened: nobody was told of its blocks, none claims that another is durable, so
they may go in any order. The rest of the last segment is zeroed, and the files behind it are removed.

**Durable blocks** have to go where a follower's log differs from its leader's. They are evidence that their
predecessors were durable, so a log that loses some of them in the wrong order looks corrupted; and those that stay
somewhere would follow the chain perfectly and could be taken for the log's later. Hence this order, in which each step
is durable before the next begins, and each but the first leaves a shorter log that needs nothing else to be whole:

1. A copy of the last segment that stays, up to the cut and zeros behind it, is written beside the log, as a file that
   recovery does not look at. Where there is no room for it, nothing has changed.
2. The durable watermark is lowered to the cut. It is a lower bound, so it is right before the cut as after it.
3. Where segments have to go, the prepared ones behind them are renamed to recycled ones, from the last one down, so
   that numbers stay without gaps. They hold nothing, or blocks from before the log's first.
4. Segments behind the cut are removed, from the last one down: the log then ends with a segment that is full and
   synced, whose blocks claim nothing about later ones. They are removed and not recycled, so that none of their blocks
   is left in space that the log writes again. Who has one mapped keeps its bytes.
5. The copy is renamed over the segment that it was made of, which is atomic: readers of the old file keep it.

A crash before step 5 leaves some of the blocks behind the cut, in order and whole, and the cut is made again by whoever
wanted it. No intention has to be recorded: there is no state between that would have to be finished.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from pooling.buffers import aligned_buffer
from replication.log.block import PAGE_BYTES
from replication.log.disk import Disk
from replication.log.recovery import RecoveredLog
from replication.log.segments.segment import Segment, recycled_path, truncated_path

_COPY_BYTES = 8 << 20


def cut_torn_tail(log: RecoveredLog, segment_bytes: int, disk: Disk) -> list[Path]:
    """Remove what a torn tail left, and prepared segments of another size; return the prepared ones that stay.

    Raises:
        OSError: the disk failed; the log can be recovered again.
    """
    if log.torn_tail is not None and log.segments:
        _zero_from(log.segments[-1], log.end, disk)
    if log.torn_tail is None and all(path.stat().st_size == segment_bytes for path in log.unused):
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
    """Carry out steps 3 and 4: take out the prepared segments, and those in use from the first of ``removed`` on.

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
