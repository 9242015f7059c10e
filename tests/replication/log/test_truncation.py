"""Cutting the end of a log: whatever a crash interrupts, a log is left, and nothing that was cut comes back."""

import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replication.log.block import Block, stored_bytes
from replication.log.directory.cut_intention import Cut, forget_cut, read_cut, record_cut
from replication.log.directory.durable_watermark import read_durable_watermark
from replication.log.disk import Disk
from replication.log.errors import LogCorrupted, LogFailed, LogFull, LogRecycled, LogTruncated
from replication.log.segments.segment import segment_files, segment_number
from replication.log.write_ahead_log import WriteAheadLog
from tests.fakes import ManualClock, ManualExecutor
from tests.replication.log.chain import CLUSTER, SEGMENT_BYTES, append, flip, hashes, recovered, replayed, seal_after
from tests.replication.log.unsafe_disk import (
    BROKEN,
    NO_SPACE,
    CrashDisk,
    FailingDisk,
    PowerCut,
    abandon,
    power_cut_while_opening,
    run_background,
)

FOUR_SEGMENTS = [400, 400, 400, 400, 400, 400, 100, 100]
"""Counts of blocks: two in each of three segments, two in a fourth."""


def _open(
    directory: Path, disk: Disk | None = None, mode: str = "block", executor: ManualExecutor | None = None
) -> WriteAheadLog:
    return WriteAheadLog.open(
        directory,
        CLUSTER,
        segment_bytes=SEGMENT_BYTES,
        sync_mode=mode,
        disk=disk,
        clock=ManualClock(),
        executor=executor or ManualExecutor(),
    )


def _fill(log: WriteAheadLog, counts: list[int], epoch: int = 1) -> list[bytes]:
    return [block.hash for count in counts for block in append(log, [count], epoch=epoch)]


@pytest.mark.parametrize("index", range(9))
def test_the_log_ends_at_the_cut_and_goes_on_from_there(tmp_path: Path, index: int) -> None:
    with _open(tmp_path) as log:
        written = _fill(log, FOUR_SEGMENTS)
        times = [block.time_ns for block in log.read(1)]
        log.truncate_after(index)
        assert (log.last_index, log.durable_index) == (index, index)
        assert log.last_position == sum(FOUR_SEGMENTS[:index])
        assert log.last_hash == [bytes(16), *written][index]
        assert log.last_time_ns == [0, *times][index]
        assert hashes(log) == replayed(log) == written[:index]
        written[index:] = _fill(log, FOUR_SEGMENTS, epoch=2)
        assert hashes(log) == replayed(log) == written
    with _open(tmp_path) as log:
        assert log.torn_tail is None
        assert hashes(log) == replayed(log) == written


@pytest.mark.parametrize("index", [0, 2, 3, 7])
def test_segments_prepared_behind_the_cut_leave_no_gap_in_the_numbers(tmp_path: Path, index: int) -> None:
    executor = ManualExecutor()
    log = _open(tmp_path, executor=executor)
    written = _fill(log, FOUR_SEGMENTS)
    assert run_background(executor, "log-preallocator") > 0
    log.truncate_after(index)
    abandon(log)
    numbers = [segment_number(path) for path in segment_files(tmp_path)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert recovered(tmp_path) == (index, written[:index])


@pytest.mark.parametrize("index", [0, 1, 2, 5, 7])
def test_a_cut_log_that_is_opened_again_ends_at_the_cut(tmp_path: Path, index: int) -> None:
    with _open(tmp_path) as log:
        written = _fill(log, FOUR_SEGMENTS)
    with _open(tmp_path) as log:
        log.truncate_after(index)
        abandon(log)
    assert recovered(tmp_path) == (index, written[:index])
    assert read_durable_watermark(tmp_path, CLUSTER) == index


def test_nothing_that_was_cut_is_left_in_the_logs_files(tmp_path: Path) -> None:
    with _open(tmp_path) as log:
        _fill(log, FOUR_SEGMENTS)
        held = list(log.read(1))
        log.truncate_after(3)
        cut = [block.buffer[:256].tobytes() for block in held if block.index > 3]
        for path in tmp_path.iterdir():
            content = path.read_bytes()
            assert not any(header in content for header in cut), path.name


def test_blocks_that_somebody_holds_survive_the_cut(tmp_path: Path) -> None:
    with _open(tmp_path) as log:
        _fill(log, FOUR_SEGMENTS)
        held = list(log.read(1))
        log.truncate_after(3)
        _fill(log, FOUR_SEGMENTS, epoch=2)
        for block in held:
            block.verify()
        assert [block.ballot.epoch for block in log.read(1)] == [1] * 3 + [2] * 8


@pytest.mark.parametrize("place", [2, 3, 5])
def test_a_reader_whose_blocks_were_cut_is_told_and_never_reads_a_mixture(tmp_path: Path, place: int) -> None:
    with _open(tmp_path) as log:
        written = _fill(log, FOUR_SEGMENTS)
        reader = log.read(1)
        seen = [next(reader).hash for _ in range(place)]
        log.truncate_after(2)
        _fill(log, FOUR_SEGMENTS, epoch=2)
        rest: list[Block] = []
        if place > 2:
            with pytest.raises(LogTruncated, match="read again"):
                rest.extend(reader)
            assert seen + [block.hash for block in rest] == written[: place + len(rest)]
        else:
            rest.extend(reader)
            assert seen + [block.hash for block in rest] == hashes(log)


def test_reading_behind_the_cut_ends_without_an_error(tmp_path: Path) -> None:
    with _open(tmp_path) as log:
        _fill(log, FOUR_SEGMENTS)
        reader = log.read(5)
        assert next(reader).index == 5
        log.truncate_after(4)
        assert [block.index for block in reader] in ([], [6])
        assert hashes(log, 5) == []


def test_cutting_at_the_end_changes_nothing(tmp_path: Path) -> None:
    with _open(tmp_path) as log:
        written = _fill(log, [10, 10])
        files = sorted(tmp_path.iterdir())
        log.truncate_after(2)
        assert sorted(tmp_path.iterdir()) == files
        assert hashes(log) == written


def test_a_cut_outside_the_log_is_refused(tmp_path: Path) -> None:
    with _open(tmp_path) as log:
        written = _fill(log, FOUR_SEGMENTS)
        with pytest.raises(ValueError, match="ends with block 8"):
            log.truncate_after(9)
        with pytest.raises(ValueError, match="ends with block 8"):
            log.truncate_after(-1)
        log.recycle_below(5)
        for index in (0, 2, 4):
            with pytest.raises(LogRecycled, match="starts at 5"):
                log.truncate_after(index)
        assert hashes(log, 5) == written[4:]
        log.truncate_after(5)
        assert hashes(log, 5) == written[4:5]


def test_a_cut_behind_a_damaged_block_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    with _open(tmp_path) as log:
        written = _fill(log, FOUR_SEGMENTS)
        flip(tmp_path / "0000000002.segment", 4096 + 500)
        with pytest.raises(LogCorrupted, match="body's hash"):
            log.truncate_after(3)
        assert log.last_index == log.durable_index == 8
        assert hashes(log, 4) == written[3:]


def test_segments_recycled_before_a_cut_and_after_it_are_used_again(tmp_path: Path) -> None:
    with _open(tmp_path) as log:
        written: list[bytes] = []
        for epoch in range(1, 6):
            written += _fill(log, FOUR_SEGMENTS, epoch=epoch)
            log.recycle_below(log.last_index - 4)
            log.truncate_after(log.last_index - 3)
            written = written[: log.last_index]
        assert hashes(log, log.first_index) == written[log.first_index - 1 :]
        assert len(list(tmp_path.iterdir())) < 14
    last, found = recovered(tmp_path)
    assert last == len(written)
    assert found == written[-len(found) :]


def test_reservations_made_before_a_cut_are_void_and_leave_no_gap(tmp_path: Path) -> None:
    with _open(tmp_path) as log:
        _fill(log, FOUR_SEGMENTS)
        for _ in range(3):
            log.reserve(stored_bytes(900, 0))
        log.truncate_after(2)
        log.reserve(stored_bytes(900, 0))
        _fill(log, [900, 900, 900], epoch=2)
        assert log.last_index == 5
    assert recovered(tmp_path)[0] == 5


@pytest.mark.parametrize("call", ["write", "rename"])
def test_no_room_to_record_a_cut_refuses_it_and_nothing_has_changed(tmp_path: Path, call: str) -> None:
    disk = FailingDisk()
    with _open(tmp_path, disk) as log:
        written = _fill(log, FOUR_SEGMENTS)
        disk.failing[call] = NO_SPACE
        with pytest.raises(LogFull, match="free or add disk space"):
            log.truncate_after(6)
        disk.failing.clear()
        assert hashes(log) == written
        assert read_cut(tmp_path, CLUSTER) is None
        log.truncate_after(6)
        assert hashes(log) == written[:6]


def _cut_under_way(directory: Path, steps: int) -> list[bytes]:
    """A log of eight blocks that a crash left while it was cut behind the third; return what was written."""
    with _open(directory) as log:
        written = _fill(log, FOUR_SEGMENTS)
    disk = CrashDisk()
    log = _open(directory, disk)
    disk.steps_left = steps
    with pytest.raises(PowerCut):
        log.truncate_after(3)
    disk.steps_left = None
    abandon(log)
    assert read_cut(directory, CLUSTER) is not None
    return written


@pytest.mark.parametrize("begun", [11, 15])
def test_a_power_cut_at_any_step_of_finishing_a_cut_leaves_one_that_can_be_finished(tmp_path: Path, begun: int) -> None:
    written = _cut_under_way(tmp_path / "begun", begun)
    done, steps = False, 0
    while not done:
        directory = tmp_path / str(steps)
        shutil.copytree(tmp_path / "begun", directory)
        done = power_cut_while_opening(partial(_open, directory), steps, random.Random(steps))
        assert recovered(directory) == (3, written[:3])
        with _open(directory) as log:
            assert hashes(log) == written[:3]
            assert read_durable_watermark(directory, CLUSTER) <= 3
            _fill(log, [7], epoch=2)
        steps += 1
    assert steps > 6


def test_a_cut_that_was_meant_for_another_block_is_corruption(tmp_path: Path) -> None:
    _cut_under_way(tmp_path, 12)
    forget_cut(tmp_path, Disk())
    record_cut(tmp_path, CLUSTER, Cut(3, b"another block's".ljust(32, b"\0")), Disk())
    with pytest.raises(LogCorrupted, match="being cut behind block 3"):
        _open(tmp_path)


def test_a_record_of_a_cut_that_cannot_be_read_is_corruption(tmp_path: Path) -> None:
    _cut_under_way(tmp_path, 12)
    flip(tmp_path / "cut", 20)
    with pytest.raises(LogCorrupted, match="record of where the log was being cut"):
        _open(tmp_path)


def test_a_cut_makes_what_stays_durable_in_every_mode(tmp_path: Path) -> None:
    disk = CrashDisk()
    log = _open(tmp_path, disk, mode="none")
    written = [block.hash for block in append(log, [10] * 6, sync=False)]
    log.truncate_after(4)
    abandon(log)
    disk.lose(random.Random(1))
    assert recovered(tmp_path) == (4, written[:4])


def test_a_full_disk_refuses_the_cut_and_nothing_has_changed(tmp_path: Path) -> None:
    disk = FailingDisk()
    with _open(tmp_path, disk) as log:
        written = _fill(log, FOUR_SEGMENTS)
        disk.failing["allocate"] = NO_SPACE
        with pytest.raises(LogFull, match="free or add disk space"):
            log.truncate_after(3)
        assert hashes(log) == written
        assert log.durable_index == 8
        assert not (tmp_path / "truncated.new").exists()
        disk.failing.clear()
        log.truncate_after(3)
        assert hashes(log) == written[:3]


@pytest.mark.parametrize("call", ["allocate", "write", "sync"])
def test_a_disk_that_fails_under_a_cut_stops_the_log(tmp_path: Path, call: str) -> None:
    disk = FailingDisk()
    log = _open(tmp_path, disk)
    written = _fill(log, FOUR_SEGMENTS)
    disk.failing[call] = BROKEN
    with pytest.raises(LogFailed, match="stop the node"):
        log.truncate_after(3)
    disk.failing.clear()
    for attempt in (lambda: log.truncate_after(3), lambda: log.append([]), log.sync):
        with pytest.raises(LogFailed):
            attempt()
    log.close()
    last, found = recovered(tmp_path)
    assert 3 <= last <= 8
    assert found == written[:last]


def _interrupted(
    directory: Path, steps: int, work: Callable[[WriteAheadLog], None], rng: random.Random, recycled: bool
) -> tuple[bool, list[bytes], int]:
    """Do some work on a log of four segments with a power cut after so many steps.

    Returns whether it was done before, the hashes of the blocks before it, and the index that was durable then.
    """
    disk, executor = CrashDisk(), ManualExecutor()
    log = _open(directory, disk, executor=executor)
    written = _fill(log, FOUR_SEGMENTS)
    if recycled:
        written += _fill(log, FOUR_SEGMENTS)
        log.recycle_below(9)
        written += _fill(log, [400] * 6)
    run_background(executor, "log-preallocator")
    assert len(log._end._preallocator._prepared) == 2, "segments are prepared behind what is cut"
    log._watermark.follow(log.durable_index)
    log._watermark._index = 0  # a second later, it would be written again
    disk.steps_left = steps
    try:
        work(log)
    except PowerCut:
        done = False
    else:
        done = True
    disk.steps_left = None
    abandon(log)
    disk.lose(rng)
    return done, written, log.durable_index


@pytest.mark.parametrize(("back", "recycled"), [(1, False), (2, False), (5, False), (8, False), (3, True), (8, True)])
def test_a_power_cut_at_any_step_of_a_cut_leaves_the_log_as_it_was_or_one_that_ends_at_the_cut(
    tmp_path: Path, back: int, recycled: bool
) -> None:
    done, steps = False, 0
    while not done:
        for seed in range(2):
            directory = tmp_path / f"{steps}-{seed}"
            rng = random.Random(seed)
            done, written, _ = _interrupted(
                directory, steps, lambda log: log.truncate_after(log.last_index - back), rng, recycled
            )
            index = len(written) - back
            last, found = recovered(directory)
            assert index <= last <= len(written)
            assert found == written[last - len(found) : last]
            assert last == index or (not done and last == len(written)), "the tail is there whole or not at all"
            with _open(directory) as log:
                assert log.torn_tail is None
                assert hashes(log, log.first_index) == written[log.first_index - 1 : last]
                assert read_cut(directory, CLUSTER) is None
                assert not list(directory.glob("truncated*"))
                # Whoever wanted the cut makes it again where it was not begun, and goes on.
                log.truncate_after(index)
                written = written[:index] + _fill(log, [200, 400, 100], epoch=2)
            last, found = recovered(directory)
            assert last == len(written)
            assert found == written[last - len(found) :]
            shutil.rmtree(directory)
        steps += 1
    assert steps > 6, "the cut takes that many steps at least"


@pytest.mark.parametrize(("back", "recycled"), [(1, False), (3, False), (3, True), (8, True)])
def test_a_power_cut_after_a_cut_never_brings_back_what_was_cut(tmp_path: Path, back: int, recycled: bool) -> None:
    appended: list[bytes] = []

    def cut_and_append(log: WriteAheadLog) -> None:
        log.truncate_after(log.last_index - back)
        for sync in (False, True, False, False):
            blocks = [seal_after(log, 350, epoch=2)]
            blocks.append(seal_after(log, 60, previous=blocks[0], epoch=2))
            appended.extend(block.hash for block in blocks)
            log.append(blocks)
            if sync:
                log.sync()

    done, steps = False, 0
    while not done:
        for seed in range(2):
            appended.clear()
            directory = tmp_path / f"{steps}-{seed}"
            done, written, durable = _interrupted(directory, steps, cut_and_append, random.Random(seed), recycled)
            index = len(written) - back
            last, found = recovered(directory)
            assert index <= last
            if appended:
                written = written[:index] + appended
                assert durable <= last
            assert index <= last <= len(written)
            assert found == written[last - len(found) : last]
            shutil.rmtree(directory)
        steps += 1


_steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(st.integers(0, 400), min_size=1, max_size=6)),
        st.tuples(st.just("truncate"), st.lists(st.integers(0, 6), min_size=1, max_size=1)),
        st.tuples(st.just("recycle"), st.lists(st.integers(0, 9), min_size=1, max_size=1)),
        st.tuples(st.just("reserve"), st.just([400])),
        st.tuples(st.just("reopen"), st.just([0])),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(steps=_steps)
def test_a_log_behaves_like_a_list(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, list[int]]]
) -> None:
    directory = tmp_path_factory.mktemp("log")
    model: list[bytes] = []
    disk = CrashDisk()
    log = _open(directory, disk)
    for epoch, (step, numbers) in enumerate(steps, start=1):
        if step == "append":
            model += [block.hash for block in append(log, numbers, epoch=epoch)]
        elif step == "truncate":
            index = max(len(model) - numbers[0], log.first_index if log.first_index > 1 else 0)
            log.truncate_after(index)
            del model[index:]
        elif step == "recycle":
            log.recycle_below(len(model) - numbers[0])
        elif step == "reserve":
            log.reserve(stored_bytes(numbers[0], 0))
        else:
            log.close()
            log = _open(directory, disk)
        assert log.last_index == log.durable_index == len(model)
        assert hashes(log, log.first_index) == replayed(log) == model[log.first_index - 1 :]
    log.close()
    shutil.rmtree(directory)
