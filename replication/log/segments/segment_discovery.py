"""Segment discovery: which files of a directory are the log's segments, by their names and headers alone."""

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pooling.buffers import aligned_buffer
from replication.log.block import PAGE_BYTES
from replication.log.directory.log_beginning import LogBeginning, read_beginning
from replication.log.disk import Disk
from replication.log.errors import LogCorrupted, LogForeign, SegmentInvalid
from replication.log.segments.segment import SEGMENT_BYTES_MIN, Segment, segment_files, segment_number


@dataclass(frozen=True, slots=True)
class SegmentsFound:
    """The segment files of a log, told apart by their headers alone."""

    used: list[Segment]
    """Those that hold blocks, in order; the last may hold none yet."""
    unused: list[Path]
    """The files behind them: prepared, or with a header that was torn."""
    end_reason: str
    """Why the first of these is not in use."""
    given_up: list[Path]
    """Files before the log's beginning, which a crash kept from being recycled."""


def find_segments(directory: Path, cluster_id: int, disk: Disk) -> SegmentsFound:
    """Read the headers of all segments. Changes nothing, and is safe on a log that is being written.

    Raises:
        LogCorrupted: a segment is missing, cut short, or out of order.
        LogForeign: a segment is another cluster's.
        LogVersionUnsupported: a segment is in a newer format.
        OSError: a file cannot be read.
    """
    beginning = read_beginning(directory, cluster_id)
    present = segment_files(directory)
    files = [path for path in present if segment_number(path) >= beginning.segment_number]
    _check_numbers(directory, files, beginning)
    used: list[Segment] = []
    reason = "the last segment is full" if files else "no segment is there"
    for path in files:
        try:
            segment = _read_header(path, cluster_id, disk)
        except SegmentInvalid as error:
            reason = str(error)
            break
        if segment is None:
            reason = "no segment header is there"
            break
        if used and not _may_follow(used[-1], segment):
            raise LogCorrupted(path, 0, segment.first_index, f"its first block cannot follow {used[-1].path.name}")
        used.append(segment)
    if used and used[0].first_index != beginning.first_index:
        what = f"its first block is block {used[0].first_index}, and the log begins with block {beginning.first_index}"
        raise LogCorrupted(used[0].path, 0, beginning.first_index, what)
    if files and not used and beginning.segment_number > 1:
        raise LogCorrupted(files[0], 0, beginning.first_index, f"{reason}, where the log begins")
    return SegmentsFound(used, files[len(used) :], reason, present[: len(present) - len(files)])


def _check_numbers(directory: Path, files: Sequence[Path], beginning: LogBeginning) -> None:
    """Check that no file is missing between the log's beginning and the last file."""
    first = beginning.segment_number
    if not files and first > 1:
        raise LogCorrupted(
            directory, 0, beginning.first_index, f"the log begins with segment {first}, and none is there"
        )
    if files and (number := segment_number(files[0])) > first:
        raise LogCorrupted(files[0], 0, None, f"the segments {first} to {number - 1}, before this one, are missing")
    for before, path in itertools.pairwise(files):
        if segment_number(path) != segment_number(before) + 1:
            raise LogCorrupted(path, 0, None, f"the segments between {before.name} and this one are missing")


def _read_header(path: Path, cluster_id: int, disk: Disk) -> Segment | None:
    """Return the segment if it is in use, ``None`` if it is prepared."""
    page = aligned_buffer(PAGE_BYTES)
    fd = disk.open(path, os.O_RDONLY)
    try:
        file_bytes = os.fstat(fd).st_size
        if file_bytes < SEGMENT_BYTES_MIN:  # a file gets a segment's name when all of it is durable
            raise LogCorrupted(path, file_bytes, None, f"the file was cut short to {file_bytes} bytes")
        segment = Segment.parse(path, page[: disk.read(fd, page, 0)])
    finally:
        disk.close(fd)
    if segment is None:
        return None
    if segment.cluster_id != cluster_id:
        raise LogForeign(path, segment.cluster_id, cluster_id)
    if segment.segment_bytes != file_bytes:
        what = f"the file has {file_bytes} bytes, not {segment.segment_bytes}"
        raise LogCorrupted(path, 0, segment.first_index, what)
    return segment


def _may_follow(before: Segment, segment: Segment) -> bool:
    return segment.first_index > before.first_index and segment.first_position >= before.first_position
