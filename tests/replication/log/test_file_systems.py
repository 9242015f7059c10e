"""A log works on file systems that can do less, and one that cannot grow on its own says so when it is opened."""

import errno
import os
import resource
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from replication.log.block import stored_bytes
from replication.log.disk import Buffer, Disk
from replication.log.errors import LogCannotGrow, LogFull
from replication.log.write_ahead_log import WriteAheadLog
from tests.fakes import ManualClock, ManualExecutor
from tests.replication.log.chain import CLUSTER, SEGMENT_BYTES, append, hashes, replayed
from tests.replication.log.unsafe_disk import FailingDisk, run_background

MIB = 1 << 20


def _open(directory: Path, disk: Disk | None = None, executor: ManualExecutor | None = None) -> WriteAheadLog:
    return WriteAheadLog.open(
        directory,
        CLUSTER,
        segment_bytes=SEGMENT_BYTES,
        disk=disk,
        clock=ManualClock(),
        executor=executor or ManualExecutor(),
    )


@pytest.fixture(params=["ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs"])
def file_system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A small file system of each kind, where this machine can make and mount it."""
    kind, image, place = request.param, tmp_path / "image", tmp_path / "mounted"
    if os.geteuid():
        pytest.skip("mounting a file system takes root")
    place.mkdir()
    mount = ["mount", "-t", kind, "-o", "size=16m", "tmpfs", str(place)]
    if kind != "tmpfs":
        megabytes = {"xfs": 320, "btrfs": 128}.get(kind, 16)
        with image.open("wb") as file:
            file.truncate(megabytes * MIB)
        mount = ["mount", "-o", "loop", "-t", kind, str(image), str(place)]
        _run_or_skip(f"mkfs.{kind}", "-q", str(image))
    _run_or_skip(*mount)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def _run_or_skip(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"{command[0]} does not work here: {error}")


def test_a_log_grows_and_comes_back_on_every_file_system(file_system: Path) -> None:
    with _open(file_system / "log") as log:
        written = [block.hash for _ in range(12) for block in append(log, [900])]
        log.recycle_below(5)
    with _open(file_system / "log") as log:
        written += [block.hash for _ in range(6) for block in append(log, [900])]
        assert hashes(log, 5) == replayed(log) == written[4:]


def test_a_full_disk_refuses_blocks_on_every_file_system_and_passes(file_system: Path) -> None:
    clock = ManualClock()
    log = WriteAheadLog.open(
        file_system / "log", CLUSTER, segment_bytes=2 * MIB, clock=clock, executor=ManualExecutor()
    )
    with log:
        append(log, [900])
        ballast = file_system / "ballast"
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(MIB))
        assert _refused(log, LogFull), "it was full, and blocks were still taken"
        written = hashes(log)
        ballast.unlink()
        os.sync()
        clock.advance(0.2)
        append(log, [10_000, 10_000, 10_000, 10_000])
        assert hashes(log)[: len(written)] == written
        assert log.durable_index == len(written) + 4


def _refused(log: WriteAheadLog, reason: type[Exception]) -> bool:
    for _ in range(20):
        try:
            log.reserve(stored_bytes(10_000, 0))
        except reason:
            return True
        append(log, [10_000])
    return False


class NoAllocation(Disk):
    """Claims no room, as the C library's emulation on a file opened for direct I/O."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        super().__init__()

        def refuse(*_: int) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "posix_fallocate", refuse)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS], ids=errno.errorcode.get)
def test_a_file_system_that_cannot_claim_room_gets_zeros(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    with _open(tmp_path, NoAllocation(monkeypatch, number)) as log:
        written = [block.hash for _ in range(5) for block in append(log, [900])]
        log.truncate_after(4)
        assert hashes(log) == written[:4]
        for path in tmp_path.glob("*.segment"):
            assert path.stat().st_blocks * 512 >= SEGMENT_BYTES, "each byte of it has been written"


def test_where_room_cannot_be_claimed_a_full_disk_shows_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = NoAllocation(monkeypatch, errno.EINVAL)
    with _open(tmp_path, disk) as log:
        free = os.statvfs(tmp_path)
        monkeypatch.setattr(os, "fstatvfs", lambda _: os.statvfs_result((*free[:3], 0, 0, *free[5:])))
        monkeypatch.setattr(disk, "write", _must_not_be_called)
        with pytest.raises(LogFull):
            log.reserve(4096)


def _must_not_be_called(_: int, __: Sequence[Buffer], ___: int) -> None:
    raise AssertionError("nothing may be written")


@pytest.mark.parametrize("call", ["open", "allocate", "write", "sync", "rename", "remove"])
@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO, errno.EPERM], ids=errno.errorcode.get)
def test_what_growing_takes_is_tried_when_the_log_is_opened(tmp_path: Path, call: str, number: int) -> None:
    _open(tmp_path).close()
    disk = FailsForSegments(call, number)
    with pytest.raises(LogCannotGrow, match=os.strerror(number)):
        _open(tmp_path, disk)
    with _open(tmp_path) as log:
        append(log, [1])


class FailsForSegments(FailingDisk):
    """Fails one call on files that are in preparation, from the start."""

    def __init__(self, call: str, number: int) -> None:
        super().__init__()
        self.armed = (call, number)

    def open(self, path: Path, flags: int) -> int:
        if path.suffix == ".new" and path.name != "truncated.new":
            self.failing = dict([self.armed])
        return super().open(path, flags)


def test_a_shortage_at_opening_is_no_failure_and_leaves_nothing_behind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with _open(tmp_path) as log:
        append(log, [900])
    with _open(tmp_path, FailsForSegments("allocate", errno.ENOSPC)) as log:
        assert len(hashes(log)) == 1
        assert "cannot grow for now" in caplog.text
    with _open(tmp_path) as log:
        append(log, [900])
    assert not list(tmp_path.glob("*.new"))


def test_segments_longer_than_files_may_be_are_refused_at_opening(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (256 << 10, hard))
    try:
        with pytest.raises(LogCannotGrow, match=r"File too large.*lower log\.segment_bytes"):
            WriteAheadLog.open(tmp_path, CLUSTER, segment_bytes=MIB, executor=ManualExecutor())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_trying_leaves_prepared_segments_as_they_are(tmp_path: Path) -> None:
    executor = ManualExecutor()
    with _open(tmp_path, executor=executor) as log:
        assert run_background(executor, "log-preallocator") == 2
        append(log, [900])
    files = sorted(path.name for path in tmp_path.iterdir())
    _open(tmp_path).close()
    assert sorted(path.name for path in tmp_path.iterdir()) == files


def _refusing_open(ordinary: Callable[..., int]) -> Callable[..., int]:
    def refuse(path: str, flags: int, *args: int) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return ordinary(path, flags, *args)

    return refuse


def test_neither_direct_writes_nor_claimed_room_are_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "open", _refusing_open(os.open))
    with _open(tmp_path, NoAllocation(monkeypatch, errno.EOPNOTSUPP)) as log:
        written = [block.hash for _ in range(5) for block in append(log, [900])]
    with _open(tmp_path) as log:
        assert hashes(log) == written
