"""Segments are prepared in the background, and whoever waits for one learns why there is none."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from replication.log.disk import Disk
from replication.log.errors import LogBusy, LogFailed, LogFull
from replication.log.segments.segment_preallocator import SegmentPreallocator
from replication.log.write_ahead_log import WriteAheadLog
from tests.fakes import ManualClock, ManualExecutor, Parked
from tests.replication.log.chain import CLUSTER, SEGMENT_BYTES, append, hashes


class NoThreads(ManualExecutor):
    """The system gives no thread, or none of a name."""

    def __init__(self, name: str = "") -> None:
        super().__init__()
        self.name = name

    def start(self, name: str, function: Callable[[], None]) -> Parked:
        if self.name in ("", name):
            raise RuntimeError("can't start new thread")
        return super().start(name, function)


class BrokenDisk(Disk):
    """Allocates nothing."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def allocate(self, fd: int, byte_count: int) -> None:
        raise self.error


def preallocator(
    directory: Path,
    disk: Disk | None = None,
    executor: ManualExecutor | None = None,
    prepared: list[Path] | None = None,
) -> SegmentPreallocator:
    prepared = prepared or []
    return SegmentPreallocator(
        directory,
        disk or Disk(),
        SEGMENT_BYTES,
        prepared,
        len(prepared) + 1,
        ManualClock(),
        executor or ManualExecutor(),
        lambda: None,
    )


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(errno.EIO, "input/output error"), LogFailed),
        (OSError(errno.ENOSPC, "no space left"), LogFull),
        (ValueError("a mistake"), LogFailed),
    ],
    ids=["a disk that fails", "a full disk", "any other error"],
)
def test_whoever_waits_learns_of_the_failure_even_where_nothing_can_be_cleared_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, raised: type[Exception]
) -> None:
    segments = preallocator(tmp_path, BrokenDisk(error))

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "read-only file system")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(raised):
        segments.take()
    segments.close()
    with pytest.raises(LogFailed):
        segments.take()


def test_a_prepared_segment_is_given_out_even_where_no_thread_can_prepare_another(tmp_path: Path) -> None:
    ready = [tmp_path / "0000000001.segment", tmp_path / "0000000002.segment"]
    for path in ready:
        path.touch()
    segments = preallocator(tmp_path, executor=NoThreads(), prepared=ready)
    taken = [segments.take(), segments.take()]
    assert [segment.path for segment in taken] == ready
    for segment in taken:
        os.close(segment.fd)
    with pytest.raises(LogBusy, match="thread"):  # a shortage that passes
        segments.take()
    segments.close()


@pytest.mark.parametrize("name", ["log-maintenance", "durable"])
def test_a_log_that_cannot_be_opened_touches_nothing_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    executor = NoThreads(name)

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "input/output error")

    with monkeypatch.context() as patch:
        if name == "durable":
            patch.setattr("replication.log.write_ahead_log.DurableWatermark", refuse)
        with pytest.raises((RuntimeError, OSError)):
            WriteAheadLog.open(tmp_path, CLUSTER, segment_bytes=SEGMENT_BYTES, executor=executor)
    assert all(parked.ended for parked in executor.parked)
    with WriteAheadLog.open(tmp_path, CLUSTER, segment_bytes=SEGMENT_BYTES, executor=ManualExecutor()) as log:
        written = [block.hash for block in append(log, [1, 2, 3])]
    with WriteAheadLog.open(tmp_path, CLUSTER, segment_bytes=SEGMENT_BYTES, executor=ManualExecutor()) as log:
        assert hashes(log) == written
