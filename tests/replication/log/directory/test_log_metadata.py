"""A log belongs to one cluster, and one process has it open at a time."""

import errno
import json
import os
import random
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from replication.log.directory.log_metadata import read_metadata
from replication.log.directory.promise_record import PromiseRecord
from replication.log.disk import Disk
from replication.log.errors import (
    LogCorrupted,
    LogForeign,
    LogInUse,
    LogOfAnotherNode,
    LogReadOnly,
    LogVersionUnsupported,
)
from replication.log.write_ahead_log import WriteAheadLog
from tests.fakes import ManualExecutor
from tests.replication.log.chain import CLUSTER, SEGMENT_BYTES, append
from tests.replication.log.unsafe_disk import power_cut_while_opening


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
    (tmp_path / "cluster").write_text(json.dumps({"format": 3, "cluster_id": "7"}))
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


def _identity(directory: Path) -> tuple[int, int]:
    found = read_metadata(directory)
    assert found is not None
    return found.log_id, found.node


def test_each_log_has_an_id_of_its_own_that_it_keeps(tmp_path: Path) -> None:
    with _open(tmp_path / "a") as log, _open(tmp_path / "b") as other:
        assert 0 != log.log_id != other.log_id != 0
    with _open(tmp_path / "a") as again:
        assert again.log_id == log.log_id
    shutil.rmtree(tmp_path / "a")
    with _open(tmp_path / "a") as replaced:
        assert replaced.log_id != log.log_id, "a disk that was wiped is another one"


def test_a_log_of_format_1_gets_an_id_when_it_is_opened(tmp_path: Path) -> None:
    (tmp_path / "cluster").write_text(json.dumps({"format": 1, "cluster_id": "7", "parameters": {"a": 3}}))
    assert _identity(tmp_path) == (0, 0)
    with WriteAheadLog.open(tmp_path, segment_bytes=SEGMENT_BYTES) as log:
        assert (log.cluster_id, log.node) == (7, 0)
        assert _identity(tmp_path) == (log.log_id, 0)
        found = read_metadata(tmp_path)
        assert found is not None
        assert found.parameters == {"a": 3}


def test_a_log_without_a_number_takes_the_nodes_and_keeps_it(tmp_path: Path) -> None:
    with _open(tmp_path) as log:
        append(log, [1])
        assert (log.node, log.promises) == (0, None)
    with WriteAheadLog.open(tmp_path, CLUSTER, segment_bytes=SEGMENT_BYTES, node=3) as named:
        assert (named.node, named.log_id) == (3, log.log_id)
        assert named.promises is not None
        assert not named.promises.read().voting
    with _open(tmp_path) as again:
        assert again.node == 3


def test_the_log_of_another_node_is_refused_and_unchanged(tmp_path: Path) -> None:
    WriteAheadLog.open(tmp_path, CLUSTER, segment_bytes=SEGMENT_BYTES, node=2).close()
    before = _identity(tmp_path)
    with pytest.raises(LogOfAnotherNode, match="log of node 2, and this is node 3: point the node at its own"):
        WriteAheadLog.open(tmp_path, CLUSTER, segment_bytes=SEGMENT_BYTES, node=3)
    assert _identity(tmp_path) == before


def _open_as_node_3(directory: Path, disk: Disk) -> WriteAheadLog:
    return WriteAheadLog.open(
        directory, CLUSTER, segment_bytes=SEGMENT_BYTES, node=3, disk=disk, executor=ManualExecutor()
    )


@pytest.mark.parametrize("began", ["new", "alone"])
def test_a_crash_at_any_step_of_giving_a_log_its_number_leaves_one_that_can_be_given_it(
    tmp_path: Path, began: str
) -> None:
    done, steps = False, 0
    while not done:
        directory = tmp_path / str(steps)
        if began == "alone":
            _open(directory).close()
        done = power_cut_while_opening(partial(_open_as_node_3, directory), steps, random.Random(steps))
        with WriteAheadLog.open(directory, CLUSTER, segment_bytes=SEGMENT_BYTES, node=3) as log:
            assert log.promises is not None
            assert log.promises.read() == PromiseRecord()
        steps += 1
    assert steps > 6


def test_a_log_keeps_the_parameters_it_began_with(tmp_path: Path) -> None:
    made = {"sessions": 10, "horizon": 5}
    WriteAheadLog.open(tmp_path / "log", 1, parameters=made).close()
    WriteAheadLog.open(tmp_path / "log", 1, parameters=made | {"sessions": 11}).close()
    found = read_metadata(tmp_path / "log")
    assert found is not None
    assert found.parameters == made
