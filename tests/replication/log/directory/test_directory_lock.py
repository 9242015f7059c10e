"""One process at a time has a log open, whatever is done to the files in its directory."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from replication.log.block import stored_bytes
from replication.log.directory.directory_lock import DirectoryLock, holder_of
from replication.log.errors import LogInUse, LogMoved
from replication.log.write_ahead_log import WriteAheadLog
from tests.fakes import ManualExecutor
from tests.replication.log.chain import CLUSTER, SEGMENT_BYTES, append, hashes


def _open(directory: Path) -> WriteAheadLog:
    return WriteAheadLog.open(directory, CLUSTER, segment_bytes=SEGMENT_BYTES, executor=ManualExecutor())


def test_a_log_in_use_names_its_holder(tmp_path: Path) -> None:
    with _open(tmp_path), pytest.raises(LogInUse, match=f"in use by process {os.getpid()}"):
        _open(tmp_path)
    _open(tmp_path).close()


@pytest.mark.parametrize("act", ["remove", "replace", "rename"])
def test_a_log_in_use_stays_so_whatever_becomes_of_the_file_that_names_the_holder(tmp_path: Path, act: str) -> None:
    file = tmp_path / "lock"
    with _open(tmp_path) as log:
        append(log, [1])
        if act == "rename":
            file.rename(tmp_path / "lock.old")
        else:
            file.unlink()
        if act == "replace":
            file.write_text("1\n")
        for take in (_open, DirectoryLock.acquire):
            with pytest.raises(LogInUse):
                take(tmp_path)
        assert holder_of(tmp_path) is not None
    with _open(tmp_path) as log:
        assert log.last_index == 1


def test_a_log_in_use_is_refused_by_every_path_that_leads_to_it(tmp_path: Path) -> None:
    directory, link = tmp_path / "log", tmp_path / "link"
    link.symlink_to(directory)
    with _open(directory), pytest.raises(LogInUse):
        _open(link)


def test_a_process_that_knows_only_the_file_is_kept_out(tmp_path: Path) -> None:
    with _open(tmp_path), (tmp_path / "lock").open("r+b") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with (tmp_path / "lock").open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(LogInUse):
            _open(tmp_path)


def test_where_directories_cannot_be_locked_the_file_alone_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ordinary = fcntl.flock

    def refuse_directories(fd: int, operation: int) -> None:
        if Path(f"/proc/self/fd/{fd}").is_dir():
            raise OSError(errno.EBADF, "Bad file descriptor")
        ordinary(fd, operation)

    monkeypatch.setattr(fcntl, "flock", refuse_directories)
    with _open(tmp_path), pytest.raises(LogInUse):
        _open(tmp_path)


def test_a_process_that_is_killed_leaves_no_lock(tmp_path: Path) -> None:
    source = (
        "import os, signal, sys; from pathlib import Path\n"
        "from replication.log.directory.directory_lock import DirectoryLock\n"
        "DirectoryLock.acquire(Path(sys.argv[1])); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", source, str(tmp_path)], check=False).returncode == -9
    assert (tmp_path / "lock").exists()
    _open(tmp_path).close()


@pytest.mark.parametrize("in_its_place", [True, False])
def test_a_log_that_was_moved_away_writes_nothing_into_what_stands_in_its_place(
    tmp_path: Path, in_its_place: bool
) -> None:
    directory, moved = tmp_path / "log", tmp_path / "moved"
    log = _open(directory)
    written = [block.hash for block in append(log, [900])]
    directory.rename(moved)
    second = _open(directory) if in_its_place else None
    before = sorted(directory.iterdir()) if in_its_place else []
    with pytest.raises(LogMoved, match="no longer the directory"):
        log.reserve(stored_bytes(900, 0))
    with pytest.raises(LogMoved):
        log.recycle_below(99)
    with pytest.raises(LogMoved):
        log.truncate_after(0)
    log.close()
    if second is not None:
        assert sorted(directory.iterdir()) == before
        second.close()
    with _open(moved) as log:
        assert hashes(log) == written


def test_asking_who_has_a_log_open_keeps_nobody_out(tmp_path: Path) -> None:
    assert holder_of(tmp_path) is None
    with _open(tmp_path):
        assert holder_of(tmp_path) == str(os.getpid())
    assert holder_of(tmp_path) is None
    (tmp_path / "lock").unlink()
    assert holder_of(tmp_path) is None
    _open(tmp_path).close()
