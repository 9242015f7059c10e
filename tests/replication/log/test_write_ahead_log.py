"""What an open log promises: order, durability per sync mode, reading back, reserved room, stopping when it fails."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replication.log.block import stored_bytes
from replication.log.disk import Buffer, Disk
from replication.log.errors import LogFailed, LogFull, LogRecycled
from replication.log.write_ahead_log import SyncMode, WriteAheadLog
from tests.replication.log.chain import CLUSTER, SEGMENT_BYTES, append, hashes, replayed, seal_after
from tests.replication.log.unsafe_disk import BROKEN, NO_SPACE, FailingDisk


def _open(
    directory: Path, disk: FailingDisk | None = None, mode: str = "block", interval_ms: float = 5
) -> WriteAheadLog:
    return WriteAheadLog.open(
        directory, CLUSTER, segment_bytes=SEGMENT_BYTES, sync_mode=mode, interval_ms=interval_ms, disk=disk
    )


def test_a_new_log_is_empty(tmp_path: Path) -> None:
    with _open(tmp_path / "deep" / "log") as log:
        assert (log.first_index, log.last_index, log.last_position, log.durable_index) == (1, 0, 0, 0)
        assert log.last_hash == bytes(16)
        assert log.torn_tail is None
        assert hashes(log) == []


def test_blocks_come_back_in_order_across_segments_and_reopening(tmp_path: Path) -> None:
    written: list[bytes] = []
    for _ in range(3):
        with _open(tmp_path) as log:
            assert replayed(log) == written
            for counts in ([1], [5, 900, 3], [200] * 20):
                written += [block.hash for block in append(log, counts)]
            assert hashes(log) == written
            assert hashes(log, 17) == written[16:]
            assert log.last_index == len(written)
    with _open(tmp_path) as log:
        assert log.last_position == 3 * (1 + 908 + 4000)
        assert log.last_hash == written[-1]


def test_a_block_read_back_holds_the_same_records_and_payloads(tmp_path: Path) -> None:
    with _open(tmp_path) as log:
        block = seal_after(log, 7, payload_bytes=5001)
        log.append([block])
        (found,) = log.read(1)
        assert np.array_equal(found.records, block.records)
        assert np.array_equal(found.payloads, block.payloads)
        assert not found.buffer.flags.writeable


def test_reading_sees_a_block_as_soon_as_it_is_appended(tmp_path: Path) -> None:
    with _open(tmp_path, mode="none") as log:
        for _ in range(50):
            (block,) = append(log, [60], sync=False)
            assert [found.hash for found in log.read(log.last_index)] == [block.hash]


def test_a_block_that_does_not_follow_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with _open(tmp_path) as log:
        skipped = seal_after(log, 1)
        block = seal_after(log, 1, previous=skipped)
        with pytest.raises(ValueError, match="does not follow block 0"):
            log.append([block])
        log.append([skipped, block])
        with pytest.raises(ValueError, match="does not follow block 2"):
            log.append([block])
        assert log.last_index == 2


def test_one_sync_covers_all_that_was_appended(tmp_path: Path) -> None:
    disk = FailingDisk()
    with _open(tmp_path, disk) as log:
        append(log, [1])
        _settle(disk)
        before = disk.syncs
        for _ in range(4):
            append(log, [1, 1], sync=False)
        assert log.durable_index == 1
        assert log.sync() == 9
        assert log.sync() == log.durable_index == 9
        assert disk.syncs == before + 1


def test_mode_interval_answers_at_once_and_syncs_within_the_interval(tmp_path: Path) -> None:
    with _open(tmp_path, mode="interval") as log:
        append(log, [1], sync=False)
        assert log.sync() == 1
        _until(lambda: log.durable_index == 1)


def test_mode_none_answers_at_once_and_syncs_when_a_segment_is_full(tmp_path: Path) -> None:
    with _open(tmp_path, mode=SyncMode.NONE) as log:
        append(log, [1], sync=False)
        assert (log.sync(), log.durable_index) == (1, 0)
        append(log, [900], sync=False)
        append(log, [900], sync=False)
        assert (log.sync(), log.durable_index) == (3, 2)


@pytest.mark.parametrize("call", ["write", "sync"])
def test_a_failed_write_or_sync_stops_the_log_for_good(tmp_path: Path, call: str) -> None:
    disk = FailingDisk()
    log = _open(tmp_path, disk)
    append(log, [1])
    _settle(disk)
    disk.failing[call] = BROKEN
    with pytest.raises(LogFailed, match="stop the node"):
        append(log, [1])
    disk.failing.clear()
    for attempt in (lambda: log.reserve(4096), lambda: log.append([]), log.sync):
        with pytest.raises(LogFailed):
            attempt()
    assert log.durable_index == 1
    log.close()
    with _open(tmp_path) as log:
        assert log.last_index >= 1


def test_a_failed_background_sync_shows_at_the_next_call(tmp_path: Path) -> None:
    disk = FailingDisk()
    log = _open(tmp_path, disk, mode="interval")
    append(log, [1])
    _until(lambda: log.durable_index == 1)
    disk.failing["sync"] = BROKEN
    append(log, [1], sync=False)
    with pytest.raises(LogFailed):
        _until(lambda: log.sync() == 0)
    log.close()


def test_a_full_disk_shows_at_the_reservation_breaks_nothing_and_passes(tmp_path: Path) -> None:
    disk = FailingDisk()
    with _open(tmp_path, disk) as log:
        log.reserve(stored_bytes(900, 0))
        append(log, [900])
        _settle(disk)
        disk.failing["allocate"] = NO_SPACE
        while _reserves(log):
            append(log, [900])
            assert log.last_index < 5
        with pytest.raises(LogFull, match="free or add disk space"):
            log.reserve(stored_bytes(900, 0))
        written = hashes(log)
        assert len(written) == log.durable_index == log.last_index
        disk.failing.clear()
        _until(lambda: _reserves(log))
        append(log, [900])
        assert hashes(log)[:-1] == written


def test_a_segment_that_cannot_be_prepared_for_another_reason_says_which(tmp_path: Path) -> None:
    disk = FailingDisk()
    disk.failing["allocate"] = BROKEN
    with _open(tmp_path, disk) as log, pytest.raises(LogFailed, match="Input/output error"):
        log.reserve(4096)


def test_a_block_larger_than_a_segment_is_refused(tmp_path: Path) -> None:
    with _open(tmp_path) as log, pytest.raises(ValueError, match="enlarge them"):
        log.reserve(SEGMENT_BYTES)


@settings(max_examples=15, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(0, 900), st.integers(0, 900)), min_size=1, max_size=40),
    ahead=st.integers(1, 5),
)
def test_reserved_blocks_always_find_their_room(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[tuple[int, int]], ahead: int
) -> None:
    disk = FailingDisk()
    with _open(tmp_path_factory.mktemp("log"), disk) as log:
        for start in range(0, len(sizes), ahead):
            group = sizes[start : start + ahead]
            for pair in group:
                log.reserve(stored_bytes(max(pair), 0))
            take = log._preallocator.take
            log._preallocator.take = _must_not_be_called  # type: ignore[method-assign]
            for pair in group:
                append(log, [min(pair)])
            log._preallocator.take = take  # type: ignore[method-assign]
        assert len(hashes(log)) == len(sizes)


def test_recycling_frees_whole_segments_and_keeps_the_rest_readable(tmp_path: Path) -> None:
    with _open(tmp_path) as log:
        written = [block.hash for _ in range(20) for block in append(log, [900])]
        files = len(list(tmp_path.iterdir()))
        assert log.recycle_below(11) == 10
        assert log.first_index == 11
        assert hashes(log, 11) == written[10:]
        with pytest.raises(LogRecycled, match="starts at 11"):
            next(log.read(10))
        written += [block.hash for _ in range(8) for block in append(log, [900])]
        assert len(list(tmp_path.iterdir())) <= files + 2, "recycled segments are used again"
    with _open(tmp_path) as log:
        assert log.first_index == 11
        assert hashes(log, 11) == written[10:]


def test_the_last_segment_and_what_is_not_durable_are_never_recycled(tmp_path: Path) -> None:
    with _open(tmp_path, mode="none") as log:
        append(log, [900], sync=False)
        append(log, [900], sync=False)
        assert log.recycle_below(99) == 0
        append(log, [900], sync=False)
        assert log.recycle_below(99) == 1
        assert log.first_index == 2


def test_a_block_that_somebody_holds_survives_its_segments_recycling(tmp_path: Path) -> None:
    with _open(tmp_path) as log:
        append(log, [900] * 3)
        held = next(log.read(1))
        assert log.recycle_below(3) == 2
        append(log, [900] * 6)
        held.verify()
        assert held.index == 1


def test_short_writes_are_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.pwritev
    monkeypatch.setattr(os, "pwritev", lambda fd, buffers, offset: whole(fd, [buffers[0][:4096]], offset))
    with _open(tmp_path) as log:
        written = [block.hash for block in append(log, [100, 300, 2])]
        assert hashes(log) == written


def test_a_file_system_without_direct_writes_gets_ordinary_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ordinary = os.open

    def refuse(path: str, flags: int, *args: int) -> int:
        if flags & os.O_DIRECT:
            raise OSError(22, "Invalid argument")
        return ordinary(path, flags, *args)

    monkeypatch.setattr(os, "open", refuse)
    with _open(tmp_path) as log:
        written = [block.hash for block in append(log, [100, 900, 900])]
    with _open(tmp_path) as log:
        assert hashes(log) == written


def _must_not_be_called() -> Path:
    raise AssertionError("the reservation had set the segment aside")


def _reserves(log: WriteAheadLog) -> bool:
    try:
        log.reserve(stored_bytes(900, 0))
    except LogFull:
        return False
    return True


def _settle(disk: FailingDisk) -> None:
    """Wait until the supply has prepared what it prepares ahead."""
    before = -1
    while before != disk.syncs:
        before = disk.syncs
        time.sleep(0.05)


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_the_last_blocks_time_is_known_after_a_restart(tmp_path: Path) -> None:
    with WriteAheadLog.open(tmp_path, CLUSTER, segment_bytes=SEGMENT_BYTES) as log:
        assert log.last_time_ns == 0
        last = append(log, [1, 2, 3])[-1]
        assert log.last_time_ns == last.time_ns
    with WriteAheadLog.open(tmp_path, CLUSTER, segment_bytes=SEGMENT_BYTES) as log:
        assert log.last_time_ns == last.time_ns


class _NoRoomForTheMark(Disk):
    """Refuses to write the durable mark, once told to."""

    refuses = False

    def open(self, path: Path, flags: int) -> int:
        fd = super().open(path, flags)
        if path.name == "durable":
            self.mark = fd
        return fd

    def write(self, fd: int, buffers: Sequence[Buffer], offset: int) -> None:
        if self.refuses and fd == self.mark:
            raise OSError(NO_SPACE, "no space left")
        super().write(fd, buffers, offset)


def test_a_mark_that_cannot_be_moved_does_not_stop_the_log(tmp_path: Path) -> None:
    disk = _NoRoomForTheMark()
    with WriteAheadLog.open(tmp_path, CLUSTER, segment_bytes=SEGMENT_BYTES, disk=disk) as log:
        assert (tmp_path / "durable").stat().st_size, "its room is taken at once"
        disk.refuses = True
        append(log, [1])
        time.sleep(1.5)  # the mark's next move is due within a second
        append(log, [1])
        assert log.durable_index == 2
