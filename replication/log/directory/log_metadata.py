"""Log metadata: the file ``cluster``, which says whose log a directory holds, and in which format.

Format 2 adds who has the log: a random id of the log on this disk, and the number of the node. A disk that was replaced
under a node's number has another log id; a directory that was copied from another node has that one's number.
"""

import json
import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from replication.log.disk import Disk
from replication.log.errors import LogCorrupted, LogForeign, LogOfAnotherNode, LogVersionUnsupported

DIRECTORY_VERSION: Final = 2


class LogMetadata(NamedTuple):
    """What the file says."""

    cluster_id: int
    parameters: dict[str, int]
    """Numbers on which the meaning of the log depends, as it began: replayed with others, it comes to another state."""
    log_id: int
    """Random identity of the log on this disk, 64 bits; 0 in format 1, until the log is opened."""
    node: int
    """Number of the node that has the log, from 1; 0 where the log has only ever had one node, without a number."""


def read_metadata(directory: Path) -> LogMetadata | None:
    """Return whose log this is; ``None`` for a directory without one.

    Raises:
        LogVersionUnsupported: the log is in a newer format.
        LogCorrupted: the file cannot be understood.
        OSError: the file cannot be read.
    """
    path = directory / "cluster"
    try:
        content = json.loads(path.read_text())
        version = int(content["format"])
        if version > DIRECTORY_VERSION:
            raise LogVersionUnsupported(path, f"format version {version}")
        parameters = {str(name): int(value) for name, value in content.get("parameters", {}).items()}
        if version == 1:
            return LogMetadata(int(content["cluster_id"], 16), parameters, 0, 0)
        log_id, node = int(content["log_id"], 16), int(content["node"])
        return LogMetadata(int(content["cluster_id"], 16), parameters, log_id, node)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LogCorrupted(path, 0, 1, f"the log's metadata cannot be read ({error!r})") from error


def choose_metadata(
    directory: Path,
    wanted_id: int | None,
    wanted_node: int | None,
    parameters: Mapping[str, int],
    rng: random.Random,
    *,
    is_empty: bool,
) -> tuple[LogMetadata, LogMetadata | None]:
    """Return what a log's metadata are to be, and what they are; ``None`` where the log is new.

    A new log is given the wanted cluster, or (``None``) a random id of 64 bits. One without a number takes the node's.

    Raises:
        LogForeign: the log is another cluster's than the wanted.
        LogOfAnotherNode: the log is another node's than the wanted.
        LogVersionUnsupported: the log is in a newer format.
        LogCorrupted: there are segments and no metadata, or these cannot be understood.
        OSError: the file cannot be read.
    """
    found = read_metadata(directory)
    if found is None:
        if not is_empty:
            path = directory / "cluster"
            raise LogCorrupted(path, 0, 1, "there are segments, but the file that says whose they are is missing")
        cluster_id = wanted_id if wanted_id is not None else rng.getrandbits(64)
        return LogMetadata(cluster_id, dict(parameters), _new_log_id(rng), wanted_node or 0), None
    if wanted_id not in (None, found.cluster_id):
        raise LogForeign(directory, found.cluster_id, wanted_id)
    if wanted_node and found.node not in (0, wanted_node):
        raise LogOfAnotherNode(directory, found.node, wanted_node)
    return found._replace(log_id=found.log_id or _new_log_id(rng), node=found.node or wanted_node or 0), found


def write_metadata(directory: Path, metadata: LogMetadata, disk: Disk) -> None:
    """Write the file, durably and at once.

    Raises:
        OSError: the disk failed, or there is no room; the file is as it was.
    """
    path = directory / "cluster"
    unfinished = path.with_suffix(".new")
    with unfinished.open("w") as file:
        content = {
            "format": DIRECTORY_VERSION,
            "cluster_id": f"{metadata.cluster_id:016x}",
            "log_id": f"{metadata.log_id:016x}",
            "node": metadata.node,
            "parameters": metadata.parameters,
        }
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    disk.rename(unfinished, path)


def _new_log_id(rng: random.Random) -> int:
    """Return a random number that is not 0."""
    return rng.getrandbits(64) or 1
