"""A log belongs to one cluster, and one process has it open at a time."""

import errno
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from replication.log.directory.log_metadata import read_metadata
from replication.log.errors import (
    LogCorrupted,
    LogForeign,
    LogInUse,
    LogReadOnly,
    LogVersionUnsupported,
)
from replication.log.write_ahead_log import WriteAheadLog
from tests.replication.log.chain import CLUSTER, SEGMENT_BYTES, append


def _open(directory: Path, cluster_id: int | None = CLUSTER) -> WriteAheadLog:
    return WriteAheadLog.open(directory, cluster_id, segment_bytes=SEGMENT_BYTES)


def test_a_second_opener_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    with _open(tmp_path), pytest.raises(LogInUse, match=f"in use by process {os.getpid()}"):
        _open(tmp_path)
    _open(tmp_path).close()


def test_another_process_is_refused_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from replication.log.write_ahead_log import WriteAheadLog\n"
        f"log = WriteAheadLog.open(Path(sys.argv[1]), {CLUSTER}, segment_bytes={SEGMENT_BYTES})\n"
        "print('open', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    with pytest.raises(LogInUse, match=f"process {process.pid}"):
        _open(tmp_path)
    process.kill()
    process.communicate()
    _open(tmp_path).close()


def test_a_log_of_another_cluster_is_refused(tmp_path: Path) -> None:
    _open(tmp_path).close()
    with pytest.raises(LogForeign, match="belongs to cluster 0000000000c0ffee"):
        _open(tmp_path, CLUSTER + 1)


def test_a_segment_of_another_cluster_is_refused(tmp_path: Path) -> None:
    with _open(tmp_path) as log:
        append(log, [1])
    (tmp_path / "cluster").write_text(json.dumps({"format": 1, "cluster_id": "7"}))
    with pytest.raises(LogForeign, match="segment"):
        _open(tmp_path, 7)


def test_without_a_wanted_cluster_the_directorys_is_taken_or_a_new_one_made(tmp_path: Path) -> None:
    with _open(tmp_path / "a", None) as log, _open(tmp_path / "b", None) as other:
        cluster_id = log.cluster_id
        assert cluster_id != other.cluster_id
    with _open(tmp_path / "a", None) as log:
        assert log.cluster_id == cluster_id


def test_a_random_cluster_id_comes_from_the_source_that_was_injected(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with WriteAheadLog.open(tmp_path / name, rng=random.Random(5)) as log:
            assert log.cluster_id == random.Random(5).getrandbits(64)


def test_a_directory_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cluster").write_text(json.dumps({"format": 2, "cluster_id": "7"}))
    with pytest.raises(LogVersionUnsupported, match="at least as new"):
        _open(tmp_path)


def test_an_unreadable_identity_is_corruption(tmp_path: Path) -> None:
    (tmp_path / "cluster").write_text("not json")
    with pytest.raises(LogCorrupted, match="metadata cannot be read"):
        _open(tmp_path)


@pytest.mark.parametrize("reason", [errno.EACCES, errno.EROFS])
def test_a_directory_that_cannot_be_written_says_so(
    tmp_path: Path, reason: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, flags: int, *args: int) -> int:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(LogReadOnly, match="write access"):
        _open(tmp_path)


def test_a_log_keeps_the_parameters_it_began_with(tmp_path: Path) -> None:
    made = {"sessions": 10, "horizon": 5}
    WriteAheadLog.open(tmp_path / "log", 1, parameters=made).close()
    WriteAheadLog.open(tmp_path / "log", 1, parameters=made | {"sessions": 11}).close()
    found = read_metadata(tmp_path / "log")
    assert found is not None
    assert found.parameters == made
