"""What an open log promises: order, durability per sync mode, reading back, reserved room, stopping when it fails."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replication.log.block import stored_bytes
from replication.log.errors import LogCannotGrow, LogFailed, LogFull
from replication.log.segments.prepared_segment import PreparedSegment
from replication.log.write_ahead_log import WriteAheadLog
from tests.fakes import ManualExecutor
from tests.replication.log.chain import CLUSTER, SEGMENT_BYTES, append, hashes, open_log, replayed, seal_after
from tests.replication.log.unsafe_disk import BROKEN, NO_SPACE, FailingDisk, TurnClock, run_background


def test_a_new_log_is_empty(tmp_path: Path) -> None:
    with open_log(tmp_path / "deep" / "log") as log:
        assert (log.first_index, log.last_index, log.last_position, log.durable_index) == (1, 0, 0, 0)
        assert log.last_hash == bytes(16)
        assert log.torn_tail is None
        assert hashes(log) == []


def test_blocks_come_back_in_order_across_segments_and_reopening(tmp_path: Path) -> None:
    written: list[bytes] = []
    for _ in range(3):
        with open_log(tmp_path) as log:
            assert replayed(log) == written
            for counts in ([1], [5, 900, 3], [200] * 20):
                written += [block.hash for block in append(log, counts)]
            assert hashes(log) == written
            assert hashes(log, 17) == written[16:]
            assert log.last_index == len(written)
    with open_log(tmp_path) as log:
        assert log.last_position == 3 * (1 + 908 + 4000)
        assert log.last_hash == written[-1]


def test_a_block_read_back_holds_the_same_records_and_payloads(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        block = seal_after(log, 7, payload_bytes=5001)
        log.append([block])
        (found,) = log.read(1)
        assert np.array_equal(found.records, block.records)
        assert np.array_equal(found.payloads, block.payloads)
        assert not found.buffer.flags.writeable


def test_reading_sees_a_block_as_soon_as_it_is_appended(tmp_path: Path) -> None:
    with open_log(tmp_path, mode="none") as log:
        for _ in range(50):
            (block,) = append(log, [60], sync=False)
            assert [found.hash for found in log.read(log.last_index)] == [block.hash]


def test_a_block_that_does_not_follow_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        skipped = seal_after(log, 1)
        block = seal_after(log, 1, previous=skipped)
        with pytest.raises(ValueError, match="does not follow block 0"):
            log.append([block])
        log.append([skipped, block])
        with pytest.raises(ValueError, match="does not follow block 2"):
            log.append([block])
        assert log.last_index == 2


def test_a_full_disk_shows_at_the_reservation_breaks_nothing_and_passes(
    tmp_path: Path, clock: TurnClock, executor: ManualExecutor
) -> None:
    disk = FailingDisk()
    with open_log(tmp_path, disk, clock=clock, executor=executor) as log:
        assert run_background(executor, "log-preallocator") == 2
        disk.failing["allocate"] = NO_SPACE
        for _ in range(2):
            assert _reserves(log)
            append(log, [900])
        for _ in range(3):
            with pytest.raises(LogFull, match="free or add disk space"):
                log.reserve(stored_bytes(900, 0))
        written = hashes(log)
        assert len(written) == log.durable_index == log.last_index == 2
        disk.failing.clear()
        assert not _reserves(log), "a full disk is not tried at every transaction"
        clock.advance(0.2)
        assert _reserves(log)
        append(log, [900])
        assert hashes(log)[:-1] == written


def test_a_closed_log_takes_no_reservation(tmp_path: Path, executor: ManualExecutor) -> None:
    log = open_log(tmp_path, executor=executor)
    log.close()
    with pytest.raises(LogFailed, match="closed"):
        log.reserve(4096)


def test_a_segment_that_cannot_be_prepared_for_another_reason_says_which(tmp_path: Path) -> None:
    disk = FailingDisk()
    with open_log(tmp_path, disk, executor=ManualExecutor()) as log:
        disk.failing["allocate"] = BROKEN
        with pytest.raises(LogFailed, match="Input/output error"):
            log.reserve(4096)


def test_a_block_larger_than_a_segment_is_refused(tmp_path: Path) -> None:
    with open_log(tmp_path) as log, pytest.raises(ValueError, match="enlarge them"):
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
    with open_log(tmp_path_factory.mktemp("log"), disk) as log:
        for start in range(0, len(sizes), ahead):
            group = sizes[start : start + ahead]
            for pair in group:
                log.reserve(stored_bytes(max(pair), 0))
            take = log._end._preallocator.take
            log._end._preallocator.take = _must_not_be_called  # type: ignore[method-assign]
            for pair in group:
                append(log, [min(pair)])
            log._end._preallocator.take = take  # type: ignore[method-assign]
        assert len(hashes(log)) == len(sizes)


def test_short_writes_are_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.pwritev
    monkeypatch.setattr(os, "pwritev", lambda fd, buffers, offset: whole(fd, [buffers[0][:4096]], offset))
    with open_log(tmp_path) as log:
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
    with open_log(tmp_path) as log:
        written = [block.hash for block in append(log, [100, 900, 900])]
    with open_log(tmp_path) as log:
        assert hashes(log) == written


def _must_not_be_called() -> PreparedSegment:
    raise AssertionError("the reservation had set the segment aside")


def _reserves(log: WriteAheadLog) -> bool:
    try:
        log.reserve(stored_bytes(900, 0))
    except LogFull:
        return False
    return True


def test_the_last_blocks_time_is_known_after_a_restart(tmp_path: Path) -> None:
    with WriteAheadLog.open(tmp_path, CLUSTER, segment_bytes=SEGMENT_BYTES) as log:
        assert log.last_time_ns == 0
        last = append(log, [1, 2, 3])[-1]
        assert log.last_time_ns == last.time_ns
    with WriteAheadLog.open(tmp_path, CLUSTER, segment_bytes=SEGMENT_BYTES) as log:
        assert log.last_time_ns == last.time_ns


@pytest.mark.parametrize("segment_bytes", [4096, 65_537])
def test_segments_that_are_too_small_or_not_whole_pages_are_refused(tmp_path: Path, segment_bytes: int) -> None:
    with pytest.raises(ValueError, match="whole pages"):
        WriteAheadLog.open(tmp_path, CLUSTER, segment_bytes=segment_bytes)


@pytest.mark.parametrize(("reason", "error"), [(NO_SPACE, LogFull), (BROKEN, LogCannotGrow)])
def test_a_disk_that_fails_at_opening_leaves_the_log_free_for_another_try(
    tmp_path: Path, reason: int, error: type[Exception]
) -> None:
    disk = FailingDisk()
    disk.failing["write"] = reason
    with pytest.raises(error):
        open_log(tmp_path, disk)
    open_log(tmp_path).close()


def test_a_block_of_another_cluster_is_refused(tmp_path: Path) -> None:
    with open_log(tmp_path / "a") as log, WriteAheadLog.open(tmp_path / "b", CLUSTER + 1) as other:
        block = seal_after(other, 1)
        with pytest.raises(ValueError, match="of cluster"):
            log.append([block])
