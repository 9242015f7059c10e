"""A shortage that passes refuses blocks for as long as it lasts; what fails under a block stays final."""

import errno
import gc
import itertools
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from replication.log.block import stored_bytes
from replication.log.disk import Disk
from replication.log.errors import LogBusy, LogFailed, LogFull
from replication.log.shortage import refusal_of
from replication.log.write_ahead_log import WriteAheadLog
from tests.fakes import ManualClock, ManualExecutor
from tests.replication.log.chain import CLUSTER, SEGMENT_BYTES, append, hashes
from tests.replication.log.unsafe_disk import FailingDisk, run_background

PASSING = [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EINTR, errno.ENOBUFS]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def executor() -> ManualExecutor:
    return ManualExecutor()


def _open(
    directory: Path, disk: Disk | None = None, clock: ManualClock | None = None, executor: ManualExecutor | None = None
) -> WriteAheadLog:
    return WriteAheadLog.open(
        directory,
        CLUSTER,
        segment_bytes=SEGMENT_BYTES,
        disk=disk,
        clock=clock or ManualClock(),
        executor=executor or ManualExecutor(),
    )


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    """Take all descriptors that this process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
    taken = []
    try:
        while True:
            try:
                taken.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                break
        yield
    finally:
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("number", PASSING, ids=errno.errorcode.get)
@pytest.mark.parametrize("call", ["open", "allocate", "write", "sync", "rename"])
def test_a_shortage_while_a_segment_is_prepared_passes(
    tmp_path: Path, call: str, number: int, clock: ManualClock, executor: ManualExecutor
) -> None:
    disk = FailingDisk()
    with _open(tmp_path, disk, clock, executor) as log:
        disk.failing[call] = number
        for _ in range(2):
            with pytest.raises(LogBusy, match="goes on by itself"):
                log.reserve(stored_bytes(900, 0))
        disk.failing.clear()
        clock.advance(0.2)
        for _ in range(4):
            log.reserve(stored_bytes(900, 0))
            append(log, [900])
        assert len(hashes(log)) == log.durable_index == 4


@pytest.mark.parametrize("call", ["open", "write", "sync", "rename"])
def test_a_shortage_while_a_recycled_segment_is_prepared_does_not_lose_it(
    tmp_path: Path, call: str, clock: ManualClock, executor: ManualExecutor
) -> None:
    disk = FailingDisk()
    with _open(tmp_path, disk, clock, executor) as log:
        append(log, [900])
        append(log, [900])
        append(log, [900])
        log.recycle_below(3)
        disk.failing[call] = errno.EMFILE
        run_background(executor, "log-preallocator")
        disk.failing.clear()
        disk.failing["allocate"] = errno.ENOSPC  # no new file can be made
        clock.advance(0.2)
        append(log, [900])
        append(log, [900])
        assert len(hashes(log, 3)) == 3


def test_a_shortage_is_tried_again_soon_and_then_less_often(
    tmp_path: Path, clock: ManualClock, executor: ManualExecutor
) -> None:
    disk = FailingDisk()
    with _open(tmp_path, disk, clock, executor) as log:
        disk.failing["open"] = errno.EMFILE
        tries = []
        for millisecond in range(1000):
            before = disk.failures
            with pytest.raises(LogBusy):
                log.reserve(4096)
            if disk.failures > before:
                tries.append(millisecond)
            clock.advance(0.001)
        gaps = [later - earlier for earlier, later in itertools.pairwise(tries)]
        assert gaps[0] <= 10
        assert gaps == sorted(gaps)
        assert gaps[-1] == 200


@pytest.mark.parametrize("number", [*PASSING, errno.ENOSPC], ids=errno.errorcode.get)
@pytest.mark.parametrize("call", ["write", "sync"])
def test_a_failed_write_or_sync_of_blocks_is_final_whatever_its_number(tmp_path: Path, call: str, number: int) -> None:
    disk = FailingDisk()
    log = _open(tmp_path, disk)
    append(log, [1])
    disk.failing[call] = number
    with pytest.raises(LogFailed):
        append(log, [1])
    disk.failing.clear()
    with pytest.raises(LogFailed):
        log.sync()
    log.close()


def test_going_on_to_a_reserved_segment_opens_nothing(tmp_path: Path) -> None:
    disk = FailingDisk()
    with _open(tmp_path, disk) as log:
        for _ in range(3):
            log.reserve(stored_bytes(900, 0))
        disk.failing["open"] = errno.EMFILE
        append(log, [900, 900, 900])
        assert log.durable_index == 3
        disk.failing.clear()


def test_the_log_grows_in_a_process_that_has_no_descriptor_left(tmp_path: Path) -> None:
    with _open(tmp_path) as log:
        append(log, [900])
        with no_descriptors_left():
            for _ in range(12):
                log.reserve(stored_bytes(900, 0))
                append(log, [900])
        assert len(hashes(log)) == log.durable_index == 13


def test_a_closed_log_keeps_no_descriptor(tmp_path: Path) -> None:
    for _ in range(3):
        with _open(tmp_path) as log:
            for _ in range(5):
                append(log, [900])
            log.truncate_after(log.last_index - 3)
            log.reserve(stored_bytes(900, 0))
    names = [os.path.realpath(entry) for entry in Path("/proc/self/fd").iterdir()]
    assert [name for name in names if name.startswith(str(tmp_path))] == []


def test_reading_without_a_descriptor_is_a_shortage_and_no_damage(tmp_path: Path) -> None:
    with _open(tmp_path) as log:
        written = [block.hash for _ in range(3) for block in append(log, [900])]
        with no_descriptors_left(), pytest.raises(LogBusy):
            next(log.read(1))
        assert hashes(log) == written


@pytest.mark.parametrize("call", ["open", "write", "sync", "allocate"])
def test_a_shortage_before_a_cut_changes_nothing(tmp_path: Path, call: str) -> None:
    disk = FailingDisk()
    with _open(tmp_path, disk) as log:
        written = [block.hash for block in append(log, [10, 10, 10])]
        disk.failing[call] = errno.ENOMEM
        with pytest.raises(LogBusy):
            log.truncate_after(1)
        disk.failing.clear()
        assert hashes(log) == written
        append(log, [10])
        log.truncate_after(1)
        assert hashes(log) == written[:1]


def test_opening_without_a_descriptor_is_a_shortage_and_leaves_the_log_free(tmp_path: Path) -> None:
    with _open(tmp_path) as log:
        append(log, [1])
    gc.collect()  # what earlier tests left would close descriptors in between
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names alone
    with no_descriptors_left(), pytest.raises(LogBusy, match="raise the limit"):
        _open(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - names alone
    with _open(tmp_path) as log:
        assert log.last_index == 1


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(errno.ENOSPC, "no space"), LogFull),
        (OSError(errno.EDQUOT, "quota"), LogFull),
        *((OSError(number, os.strerror(number)), LogBusy) for number in PASSING),
        (MemoryError(), LogBusy),
        (RuntimeError("can't start new thread"), LogBusy),
        (OSError(errno.EIO, "i/o"), LogFailed),
        (OSError(errno.EROFS, "read-only"), LogFailed),
        (OSError("no number"), LogFailed),
        (ValueError("a mistake"), LogFailed),
    ],
)
def test_errors_ahead_of_the_blocks_are_full_busy_or_final(tmp_path: Path, error: Exception, kind: type) -> None:
    assert type(refusal_of(error, tmp_path, 4096)) is kind
