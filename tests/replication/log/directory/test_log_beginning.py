"""A log that gave up its first segments says so; one that lost them does not pass for it."""

import random
import shutil
from pathlib import Path

import pytest

from replication.log.directory.log_beginning import FIRST, BeginningRecord, LogBeginning, read_beginning
from replication.log.disk import Disk
from replication.log.errors import LogCorrupted
from replication.log.write_ahead_log import WriteAheadLog
from tests.fakes import ManualExecutor
from tests.replication.log.chain import CLUSTER, SEGMENT_BYTES, append, flip, hashes, recovered, replayed
from tests.replication.log.unsafe_disk import CrashDisk, PowerCut, abandon, run_background


def _open(directory: Path, disk: Disk | None = None, executor: ManualExecutor | None = None) -> WriteAheadLog:
    return WriteAheadLog.open(
        directory, CLUSTER, segment_bytes=SEGMENT_BYTES, disk=disk, executor=executor or ManualExecutor()
    )


def _log_of_four_segments(directory: Path) -> list[bytes]:
    with _open(directory) as log:
        return [block.hash for _ in range(8) for block in append(log, [400])]


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_log_whose_first_segments_are_missing_is_corrupted(tmp_path: Path, lost: int) -> None:
    _log_of_four_segments(tmp_path)
    for number in range(1, lost + 1):
        (tmp_path / f"{number:010d}.segment").unlink()
    for look in (lambda: recovered(tmp_path), lambda: _open(tmp_path)):
        with pytest.raises(LogCorrupted, match="missing"):
            look()


def test_a_recycled_log_that_lost_its_first_segment_is_corrupted(tmp_path: Path) -> None:
    _log_of_four_segments(tmp_path)
    with _open(tmp_path) as log:
        assert log.recycle_below(5) == 2
    assert read_beginning(tmp_path, CLUSTER) == (3, 5)
    (tmp_path / "0000000003.segment").unlink()
    with pytest.raises(LogCorrupted, match="missing"):
        _open(tmp_path)


def test_a_recycled_log_that_lost_all_its_segments_is_corrupted(tmp_path: Path) -> None:
    _log_of_four_segments(tmp_path)
    with _open(tmp_path) as log:
        log.recycle_below(5)
    for path in [*tmp_path.glob("*.segment"), tmp_path / "durable"]:
        path.unlink()
    with pytest.raises(LogCorrupted, match="none is there"):
        _open(tmp_path)


@pytest.mark.parametrize("damage", ["missing", "empty", "torn"])
def test_a_recycled_log_without_the_record_of_its_beginning_is_not_trusted(tmp_path: Path, damage: str) -> None:
    _log_of_four_segments(tmp_path)
    with _open(tmp_path) as log:
        log.recycle_below(5)
    path = tmp_path / "beginning"
    if damage == "missing":
        path.unlink()
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        flip(path, 20)
    with pytest.raises(LogCorrupted, match="1 to 2, before this one, are missing"):
        _open(tmp_path)


def test_a_log_that_gave_up_nothing_needs_no_record(tmp_path: Path) -> None:
    written = _log_of_four_segments(tmp_path)
    (tmp_path / "beginning").unlink()
    with _open(tmp_path) as log:
        assert hashes(log) == written


def test_another_segment_under_the_first_ones_name_is_corruption(tmp_path: Path) -> None:
    _log_of_four_segments(tmp_path)
    for number in (2, 3, 4):
        source = tmp_path / f"{number:010d}.segment"
        source.rename(tmp_path / f"{number - 1:010d}.segment")
    with pytest.raises(LogCorrupted):
        _open(tmp_path)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [0, 100, 4096])
def test_a_segment_cut_short_is_corruption_wherever_it_stands(tmp_path: Path, number: int, size: int) -> None:
    _log_of_four_segments(tmp_path)
    (tmp_path / "durable").unlink()
    with (tmp_path / f"{number:010d}.segment").open("r+b") as file:
        file.truncate(size)
    with pytest.raises(LogCorrupted, match=f"{size} bytes"):
        _open(tmp_path)


def test_stray_files_are_no_segments(tmp_path: Path) -> None:
    written = _log_of_four_segments(tmp_path)
    shutil.copy(tmp_path / "0000000002.segment", tmp_path / "2.segment")
    shutil.copy(tmp_path / "0000000002.segment", tmp_path / "0000000002.segment~")
    (tmp_path / "copy.segment").write_bytes(b"not mine")
    with _open(tmp_path) as log:
        assert hashes(log) == written
        append(log, [400, 400])


@pytest.mark.parametrize("steps", range(12))
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_power_cut_at_any_step_of_a_recycling_leaves_a_log_that_begins_where_it_says(
    tmp_path: Path, steps: int, seed: int
) -> None:
    written = _log_of_four_segments(tmp_path)
    disk, executor = CrashDisk(), ManualExecutor()
    log = _open(tmp_path, disk, executor)
    log.recycle_below(3)
    disk.steps_left = steps
    try:
        log.recycle_below(7)
        run_background(executor, "log-preallocator")
    except PowerCut:
        pass
    disk.steps_left = None
    log._end._preallocator._preparing = None
    abandon(log)
    disk.lose(random.Random(seed))
    last, found = recovered(tmp_path)
    assert last == 8
    assert found in (written[2:], written[6:])
    with _open(tmp_path) as log:
        assert log.first_index == read_beginning(tmp_path, CLUSTER).first_index == 9 - len(found)
        assert replayed(log) == found
        assert not [path for path in tmp_path.glob("*.segment") if int(path.stem) < log._index.segments[0].number]
        append(log, [400])
    assert recovered(tmp_path)[0] == 9


@pytest.mark.parametrize("seed", range(8))
def test_a_torn_record_leaves_the_one_before_it(tmp_path: Path, seed: int) -> None:
    disk = CrashDisk()
    record = BeginningRecord(tmp_path, CLUSTER, disk)
    assert record.beginning == FIRST
    moves = [LogBeginning(number, 10 * number) for number in (2, 5, 6)]
    for move in moves:
        record.move_to(move)
    disk.steps_left = 1
    with pytest.raises(PowerCut):
        record.move_to(LogBeginning(9, 90))
    record.close()
    disk.lose(random.Random(seed))
    assert read_beginning(tmp_path, CLUSTER) in (moves[-1], LogBeginning(9, 90))
    again = BeginningRecord(tmp_path, CLUSTER, Disk())
    again.move_to(LogBeginning(11, 110))
    again.close()
    assert read_beginning(tmp_path, CLUSTER) == (11, 110)
    assert read_beginning(tmp_path, CLUSTER + 1) == FIRST
