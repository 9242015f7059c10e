"""Opening: the steps between a directory and a log that can be appended to, and what each leaves for a crash to find.

Whose log it is stands before anything else. Where the log is one of several nodes', what this node promised is read
before its end is judged, since it says whether there is anybody to repair from; and where blocks are suspect, the node
gives up its vote before it cuts them.
"""

import contextlib
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from replication.log.directory.cut_intention import Cut, forget_cut, record_cut
from replication.log.directory.durable_watermark import DurableWatermark
from replication.log.directory.log_metadata import LogMetadata, choose_metadata, write_metadata
from replication.log.directory.promise_record import PromiseRecord, PromiseStore, make_promise
from replication.log.disk import Disk
from replication.log.errors import PromiseLost
from replication.log.recovery.recovery import RecoveredLog, recover
from replication.log.recovery.truncation import cut_tail


def adopt(
    directory: Path,
    cluster_id: int | None,
    node: int | None,
    parameters: Mapping[str, int],
    disk: Disk,
    rng: random.Random,
    *,
    is_empty: bool,
) -> LogMetadata:
    """Return whose log it is; a new log is given to the cluster and node, an old one to the node if it had no number.

    Raises:
        LogForeign: the log is another cluster's.
        LogOfAnotherNode: the log is another node's.
        LogVersionUnsupported: the log is in a newer format.
        LogCorrupted: its metadata are missing or cannot be understood.
        OSError: the disk failed, or there is no room.
    """
    metadata, found = choose_metadata(directory, cluster_id, node, parameters, rng, is_empty=is_empty)
    if metadata == found:
        return metadata
    if metadata.node and (found is None or not found.node):
        # Before the log has the number: from then on a record that is not there was lost.
        make_promise(directory, metadata, disk)
    write_metadata(directory, metadata, disk)
    return metadata


def recover_with(directory: Path, metadata: LogMetadata, promises: PromiseStore | None, disk: Disk) -> RecoveredLog:
    """Find the log's end, in the light of who else has the log. Changes nothing.

    Raises:
        LogCorrupted: see `recover`.
        LogForeign: a segment is another cluster's.
        LogVersionUnsupported: it is in a newer format.
        OSError: a file cannot be read.
    """
    record = _known(promises)
    if record is None or not record.has_peers(metadata.node):
        return recover(directory, metadata.cluster_id, disk)
    return recover(directory, metadata.cluster_id, disk, has_peers=True, commit_index=record.commit_index)


def commit_index_of(metadata: LogMetadata, promises: PromiseStore | None, recovered: RecoveredLog) -> int:
    """Return up to where the log is known to be committed: what is durable on the only node is."""
    if promises is None:
        return recovered.tip.index
    record = _known(promises)
    if record is None:
        return 0
    if not record.has_peers(metadata.node):
        return recovered.tip.index
    return min(record.commit_index, recovered.tip.index)


def cut_what_is_behind(
    directory: Path,
    metadata: LogMetadata,
    promises: PromiseStore | None,
    recovered: RecoveredLog,
    segment_bytes: int,
    disk: Disk,
) -> list[Path]:
    """Remove what stands behind the log's end, see `cut_tail`; return the prepared segments that are left.

    Raises:
        LogFailed: the disk failed under the node's promise.
        OSError: the disk failed, or there is no room; the log can be recovered again.
    """
    if recovered.suspect is not None:
        assert promises is not None, "a log without peers has no suspect blocks"
        assert recovered.tip.hash is not None
        promises.store(replace(promises.read(), voting=False))
        record_cut(directory, metadata.cluster_id, Cut(recovered.tip.index, recovered.tip.hash), disk)
    prepared = cut_tail(recovered, segment_bytes, disk)
    if recovered.suspect is not None or recovered.cut is not None:
        with contextlib.closing(DurableWatermark(directory, metadata.cluster_id, disk)) as watermark:
            watermark.lower_to(recovered.tip.index)
        forget_cut(directory, disk)
    return prepared


def _known(promises: PromiseStore | None) -> PromiseRecord | None:
    if promises is None:
        return None
    try:
        return promises.read()
    except PromiseLost:
        return None
