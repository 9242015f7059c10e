"""When what was appended is durable, in each sync mode, and what a disk that fails at it does to the log."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from replication.log.directory.durable_watermark import read_durable_watermark
from replication.log.disk import Buffer, Disk
from replication.log.errors import LogFailed
from replication.log.sync_mode import SyncMode
from replication.log.write_ahead_log import WriteAheadLog
from tests.fakes import ManualExecutor
from tests.replication.log.chain import CLUSTER, append, open_log
from tests.replication.log.unsafe_disk import BROKEN, NO_SPACE, FailingDisk, TurnClock, run_background


def test_one_sync_covers_all_that_was_appended(tmp_path: Path, executor: ManualExecutor) -> None:
    disk = FailingDisk()
    with open_log(tmp_path, disk, executor=executor) as log:
        append(log, [1])
        before = disk.syncs
        for _ in range(4):
            append(log, [1, 1], sync=False)
        assert log.durable_index == 1
        assert log.sync() == 9
        assert log.sync() == log.durable_index == 9
        assert disk.syncs == before + 1


def test_mode_interval_answers_at_once_and_syncs_within_the_interval(
    tmp_path: Path, clock: TurnClock, executor: ManualExecutor
) -> None:
    started_ns = clock.now_ns
    with open_log(tmp_path, mode="interval", clock=clock, executor=executor) as log:
        append(log, [1], sync=False)
        assert (log.sync(), log.durable_index) == (1, 0)
        clock.turns = 1
        run_background(executor, "log-maintenance")
        assert log.durable_index == 1
        assert clock.now_ns - started_ns <= 2 * 5_000_000
        assert read_durable_watermark(tmp_path, CLUSTER) == 0


@pytest.mark.parametrize(("mode", "turns"), [("block", 1), ("interval", 200), ("none", 1)])
def test_the_durable_watermark_follows_within_a_second(
    tmp_path: Path, mode: str, turns: int, clock: TurnClock, executor: ManualExecutor
) -> None:
    with open_log(tmp_path, mode=mode, clock=clock, executor=executor) as log:
        append(log, [900])
        append(log, [900])
        clock.turns = turns
        run_background(executor, "log-maintenance")
        assert read_durable_watermark(tmp_path, CLUSTER) == log.durable_index > 0


def test_mode_none_answers_at_once_and_syncs_when_a_segment_is_full(tmp_path: Path) -> None:
    with open_log(tmp_path, mode=SyncMode.NONE) as log:
        append(log, [1], sync=False)
        assert (log.sync(), log.durable_index) == (1, 0)
        append(log, [900], sync=False)
        append(log, [900], sync=False)
        assert (log.sync(), log.durable_index) == (3, 2)


@pytest.mark.parametrize("call", ["write", "sync"])
def test_a_failed_write_or_sync_stops_the_log_for_good(tmp_path: Path, call: str, executor: ManualExecutor) -> None:
    disk = FailingDisk()
    log = open_log(tmp_path, disk, executor=executor)
    append(log, [1])
    disk.failing[call] = BROKEN
    with pytest.raises(LogFailed, match="stop the node"):
        append(log, [1])
    disk.failing.clear()
    for attempt in (lambda: log.reserve(4096), lambda: log.append([]), log.sync):
        with pytest.raises(LogFailed):
            attempt()
    assert log.durable_index == 1
    log.close()
    with open_log(tmp_path) as log:
        assert log.last_index >= 1


def test_a_failed_background_sync_shows_at_the_next_call(
    tmp_path: Path, clock: TurnClock, executor: ManualExecutor
) -> None:
    disk = FailingDisk()
    log = open_log(tmp_path, disk, mode="interval", clock=clock, executor=executor)
    append(log, [1])
    disk.failing["sync"] = BROKEN
    assert log.sync() == 1
    clock.turns = 2
    run_background(executor, "log-maintenance")
    assert clock.turns == 1, "it ends at the first failure"
    with pytest.raises(LogFailed):
        log.sync()
    log.close()


def test_a_failed_background_sync_is_told_once_though_nobody_calls(
    tmp_path: Path, clock: TurnClock, executor: ManualExecutor
) -> None:
    disk = FailingDisk()
    told: list[str] = []
    log = open_log(tmp_path, disk, mode="interval", clock=clock, executor=executor)
    log.on_failure(lambda error: told.append(str(error)))
    append(log, [1], sync=False)
    disk.failing["sync"] = BROKEN
    clock.turns = 9
    run_background(executor, "log-maintenance")
    assert len(told) == 1
    assert "stop the node" in told[0]
    assert disk.failures == 1, "a failed sync is not tried again"
    log.on_failure(lambda error: told.append(str(error)))
    assert len(told) == 2, "who asks later is told at once"
    log.close()


@pytest.mark.parametrize("call", ["write", "sync"])
def test_a_failure_of_the_writer_ends_syncing_in_the_background(
    tmp_path: Path, clock: TurnClock, executor: ManualExecutor, call: str
) -> None:
    disk = FailingDisk()
    log = open_log(tmp_path, disk, mode="interval", clock=clock, executor=executor)
    run_background(executor, "log-preallocator")
    append(log, [1], sync=False)
    disk.failing[call] = BROKEN
    with pytest.raises(LogFailed):
        append(log, [900], sync=False)
    disk.failing.clear()
    before = disk.syncs
    clock.turns = 300
    run_background(executor, "log-maintenance")
    assert disk.syncs == before
    log.close()


class _HangingDisk(Disk):
    """Takes an hour for a sync, in the middle of which somebody looks."""

    clock: TurnClock
    look: Callable[[], object] | None = None

    def sync(self, fd: int) -> None:
        if self.look is not None:
            self.clock.advance(3600)
            self.look()
        super().sync(fd)


def test_a_background_sync_that_hangs_is_seen_from_outside(
    tmp_path: Path, clock: TurnClock, executor: ManualExecutor
) -> None:
    disk = _HangingDisk()
    disk.clock = clock
    seen: list[float] = []
    with open_log(tmp_path, disk, mode="interval", clock=clock, executor=executor) as log:
        append(log, [1], sync=False)
        disk.look = lambda: seen.append(log.background_wait.lasts_s())
        clock.turns = 1
        run_background(executor, "log-maintenance")
        disk.look = None
        assert (seen, log.background_wait.lasts_s()) == ([3600.0], 0.0)


class _NoRoomForTheWatermark(Disk):
    """Refuses to write the durable watermark, once told to."""

    refuses = False

    def open(self, path: Path, flags: int) -> int:
        fd = super().open(path, flags)
        if path.name == "durable":
            self.watermark = fd
        return fd

    def write(self, fd: int, buffers: Sequence[Buffer], offset: int) -> None:
        if self.refuses and fd == self.watermark:
            raise OSError(NO_SPACE, "no space left")
        super().write(fd, buffers, offset)


def test_a_watermark_that_cannot_be_raised_does_not_stop_the_log(
    tmp_path: Path, clock: TurnClock, executor: ManualExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    disk = _NoRoomForTheWatermark()
    with open_log(tmp_path, disk, clock=clock, executor=executor) as log:
        assert (tmp_path / "durable").stat().st_size, "its room is taken at once"
        disk.refuses = True
        append(log, [1])
        clock.turns = 1
        run_background(executor, "log-maintenance")
        append(log, [1])
        log._watermark.follow(log.durable_index)
        assert caplog.text.count("could not be raised") == 1
        assert log.durable_index == 2
        disk.refuses = False
    assert "is raised again" in caplog.text
    assert read_durable_watermark(tmp_path, CLUSTER) == 2


def test_an_interval_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="more than 0"):
        WriteAheadLog.open(tmp_path, CLUSTER, sync_mode="interval", interval_ms=0)
