"""Log metadata: the file ``cluster``, which says whose log a directory holds, and in which format."""

import json
import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from replication.log.disk import Disk
from replication.log.errors import LogCorrupted, LogForeign, LogVersionUnsupported

DIRECTORY_VERSION: Final = 1


class LogMetadata(NamedTuple):
    """What the file says."""

    cluster_id: int
    parameters: dict[str, int]
    """Numbers on which the meaning of the log depends, as it began: replayed with others, it comes to another state."""


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
        return LogMetadata(int(content["cluster_id"], 16), parameters)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LogCorrupted(path, 0, 1, f"the log's metadata cannot be read ({error!r})") from error


def adopt_metadata(
    directory: Path,
    wanted_id: int | None,
    parameters: Mapping[str, int],
    disk: Disk,
    rng: random.Random,
    *,
    is_empty: bool,
) -> int:
    """Return the cluster of a log; one that is new is given the wanted, or (``None``) a random id of 64 bits.

    Raises:
        LogForeign: the log is another cluster's than the wanted.
        LogVersionUnsupported: the log is in a newer format.
        LogCorrupted: there are segments and no metadata, or these cannot be understood.
        OSError: the disk failed.
    """
    found = read_metadata(directory)
    if found is not None:
        if wanted_id not in (None, found.cluster_id):
            raise LogForeign(directory, found.cluster_id, wanted_id)
        return found.cluster_id
    path = directory / "cluster"
    if not is_empty:
        raise LogCorrupted(path, 0, 1, "there are segments, but the file that says whose they are is missing")
    cluster_id = wanted_id if wanted_id is not None else rng.getrandbits(64)
    unfinished = path.with_suffix(".new")
    with unfinished.open("w") as file:
        content = {"format": DIRECTORY_VERSION, "cluster_id": f"{cluster_id:016x}", "parameters": dict(parameters)}
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    disk.rename(unfinished, path)
    return cluster_id
