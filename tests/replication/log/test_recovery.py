"""Recovery keeps every durable block, cuts what was not, and refuses to start on damage."""

import random
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replication.log.block import Block
from replication.log.directory.durable_watermark import read_durable_watermark
from replication.log.disk import Disk
from replication.log.errors import LogCorrupted, LogVersionUnsupported
from replication.log.segments.segment import Segment
from replication.log.write_ahead_log import WriteAheadLog
from tests.replication.log.chain import (
    CLUSTER,
    SEGMENT_BYTES,
    append,
    contents,
    flip,
    hashes,
    recovered,
    replayed,
    seal_after,
)
from tests.replication.log.unsafe_disk import CrashDisk, abandon


def _open(directory: Path, disk: Disk | None = None) -> WriteAheadLog:
    return WriteAheadLog.open(directory, CLUSTER, segment_bytes=SEGMENT_BYTES, disk=disk)


def _start(directory: Path, apply: Callable[[Block], None] = lambda block: None) -> None:
    """Open a log and replay it, as a node does when it starts."""
    with _open(directory) as log:
        log.replay(apply)


_steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(st.integers(0, 400), min_size=1, max_size=6)),
        st.tuples(st.just("sync"), st.just([])),
        st.tuples(st.just("mark"), st.just([])),
        st.tuples(st.just("recycle"), st.just([])),
        st.tuples(st.just("truncate"), st.just([])),
    ),
    min_size=1,
    max_size=10,
)


@settings(max_examples=60, deadline=None)
@given(lives=st.lists(_steps, min_size=2, max_size=4), seed=st.integers(0, 2**32))
def test_after_any_power_cut_the_log_is_a_prefix_that_holds_all_that_was_durable(
    tmp_path_factory: pytest.TempPathFactory, lives: list[list[tuple[str, list[int]]]], seed: int
) -> None:
    directory, rng = tmp_path_factory.mktemp("log"), random.Random(seed)
    disk = CrashDisk()
    written: list[bytes] = []
    epoch = 1
    for steps in lives:
        log = _open(directory, disk)
        written = written[: log.last_index]
        assert hashes(log, log.first_index) == written[log.first_index - 1 :]
        for step, counts in steps:
            if step == "append":
                written += [block.hash for block in append(log, counts, sync=False, epoch=epoch)]
            elif step == "sync":
                assert log.sync() == len(written)
            elif step == "mark":
                log._watermark.follow(log.durable_index)
            elif step == "truncate":
                cut = rng.randint(log.first_index if log.first_index > 1 else 0, log.last_index)
                log.truncate_after(min(cut, log.last_index))
                epoch += 1
                written = written[: log.last_index]
                assert hashes(log, log.first_index) == written[log.first_index - 1 :]
            else:
                log.recycle_below(rng.randint(1, log.last_index + 1))
        durable = log.durable_index
        abandon(log)
        disk.lose(rng)
        last, found = recovered(directory)
        assert durable <= last <= len(written)
        assert found == written[last - len(found) : last]
    shutil.rmtree(directory)


def test_a_torn_tail_is_cut_told_and_gone_afterwards(tmp_path: Path) -> None:
    disk = CrashDisk()
    log = _open(tmp_path, disk)
    append(log, [10, 20])
    append(log, [30, 40], sync=False)
    abandon(log)
    flip(tmp_path / "0000000001.segment", 4096 * 3 + 300)
    with _open(tmp_path) as log:
        assert log.last_index == 2
        assert log.torn_tail is not None
        assert (log.torn_tail.index, log.torn_tail.offset) == (3, 4096 * 3)
        assert "body's hash" in str(log.torn_tail)
    with _open(tmp_path) as log:
        assert log.torn_tail is None
        append(log, [1])
        assert len(hashes(log)) == 3


def test_a_segment_started_but_not_synced_behind_a_full_one_is_cut(tmp_path: Path) -> None:
    disk = CrashDisk()
    log = _open(tmp_path, disk)
    append(log, [186] * 5)  # three pages each: the segment's fifteen are full
    abandon(log)
    (tmp_path / "0000000002.segment").write_bytes(b"torn".ljust(SEGMENT_BYTES, b"\0"))
    with _open(tmp_path) as log:
        assert log.last_index == 5
        assert log.torn_tail is not None
        append(log, [186])
        assert len(hashes(log)) == 6


def test_what_recycled_segments_still_hold_is_no_torn_tail(tmp_path: Path) -> None:
    with _open(tmp_path) as log:
        append(log, [100] * 60)
        assert log.recycle_below(60) > 2
        append(log, [100] * 40)
    prepared = [path.read_bytes() for path in tmp_path.glob("*.segment") if not path.read_bytes()[:4096].strip(b"\0")]
    assert any(data.strip(b"\0") for data in prepared), "a recycled segment waits behind the last block"
    with _open(tmp_path) as log:
        assert log.torn_tail is None
        assert log.last_index == 100


def test_a_whole_block_of_another_chain_is_not_taken_for_the_next(tmp_path: Path) -> None:
    for name, payload_bytes in (("a", 0), ("b", 7)):
        log = _open(tmp_path / name)
        first = seal_after(log, 1, payload_bytes)
        log.append([first, seal_after(log, 1, previous=first)])
        log.sync()
        abandon(log)
    segment = "0000000001.segment"
    mixed = (tmp_path / "a" / segment).read_bytes()[:8192] + (tmp_path / "b" / segment).read_bytes()[8192:]
    (tmp_path / "a" / segment).write_bytes(mixed)
    with _open(tmp_path / "a") as log:
        assert log.last_index == 1
        assert "does not follow" in str(log.torn_tail)


def _damaged_log(directory: Path) -> list[bytes]:
    """A log of 6 blocks in 3 segments that a crash ended: no mark tells what was durable."""
    log = _open(directory)
    written = [block.hash for _ in range(6) for block in append(log, [400])]
    abandon(log)
    assert read_durable_watermark(directory, CLUSTER) == 0
    return written


@pytest.mark.parametrize(
    ("file", "offset", "index"),
    [
        ("0000000001.segment", 4096 + 256 + 777, 1),  # a body
        ("0000000001.segment", 4096 + 28672 + 24, 2),  # the last header of a full segment
        ("0000000002.segment", 70, 3),  # behind a segment's header, where all is zero and nothing is checked: see below
        ("0000000002.segment", 20, 3),  # a segment's header
        ("0000000003.segment", 4096 + 500, 5),  # of the blocks that a crash might have torn, one that the next knows
    ],
)
def test_damage_to_what_was_durable_is_corruption_and_nothing_is_changed(
    tmp_path: Path, file: str, offset: int, index: int
) -> None:
    _damaged_log(tmp_path)
    if offset == 70:
        (tmp_path / file).write_bytes(bytes(4096) + (tmp_path / file).read_bytes()[4096:])
    else:
        flip(tmp_path / file, offset)
    before = contents(tmp_path)
    with pytest.raises(LogCorrupted, match="Restore this log") as caught:
        _start(tmp_path)
    assert caught.value.index == index
    after = contents(tmp_path)
    assert {name: after[name] for name in before} == before


def test_damage_to_the_newest_block_is_corruption_after_a_clean_close(tmp_path: Path) -> None:
    with _open(tmp_path) as log:
        append(log, [10, 10])
    assert read_durable_watermark(tmp_path, CLUSTER) == 2
    flip(tmp_path / "0000000001.segment", 2 * 4096 + 300)
    with pytest.raises(LogCorrupted, match="block 2 was known to be durable"):
        _open(tmp_path)


def test_damage_to_the_newest_block_looks_like_a_torn_tail_after_a_crash_and_is_told(tmp_path: Path) -> None:
    log = _open(tmp_path)
    append(log, [10, 10])
    abandon(log)
    flip(tmp_path / "0000000001.segment", 2 * 4096 + 300)
    with _open(tmp_path) as log:
        assert log.last_index == 1
        assert log.torn_tail is not None


def test_a_damaged_mark_tells_nothing(tmp_path: Path) -> None:
    with _open(tmp_path) as log:
        append(log, [10, 10])
    flip(tmp_path / "durable", 9)
    assert read_durable_watermark(tmp_path, CLUSTER) == 0
    with _open(tmp_path) as log:
        assert log.last_index == 2


@pytest.mark.parametrize("number", [1, 2])
def test_a_missing_segment_is_corruption(tmp_path: Path, number: int) -> None:
    _damaged_log(tmp_path)
    if number == 1:
        for used in (1, 2, 3):
            (tmp_path / f"{used:010d}.segment").unlink()
    else:
        (tmp_path / f"{number:010d}.segment").unlink()
    with pytest.raises(LogCorrupted, match="missing"):
        _open(tmp_path)


def test_a_segment_cut_short_is_corruption(tmp_path: Path) -> None:
    _damaged_log(tmp_path)
    with (tmp_path / "0000000001.segment").open("r+b") as file:
        file.truncate(8192)
    with pytest.raises(LogCorrupted, match="8192 bytes"):
        _open(tmp_path)


def test_segments_without_the_identity_are_corruption(tmp_path: Path) -> None:
    _damaged_log(tmp_path)
    (tmp_path / "cluster").unlink()
    with pytest.raises(LogCorrupted, match="whose they are"):
        _open(tmp_path)


def test_a_segment_of_a_newer_format_says_so(tmp_path: Path) -> None:
    _damaged_log(tmp_path)
    _rewrite(tmp_path / "0000000002.segment", 0, 60, 64)
    with pytest.raises(LogVersionUnsupported, match="format version 2"):
        _open(tmp_path)


def test_a_block_of_a_newer_format_says_so(tmp_path: Path) -> None:
    _damaged_log(tmp_path)
    _rewrite(tmp_path / "0000000002.segment", 4096, 148, 256)
    with pytest.raises(LogVersionUnsupported, match="format version 3"):
        _start(tmp_path)
    with _open(tmp_path) as log, pytest.raises(LogVersionUnsupported, match="format version 3"):
        hashes(log)


def test_a_block_of_a_newer_format_behind_a_damaged_one_is_never_cut_off(tmp_path: Path) -> None:
    _damaged_log(tmp_path)
    _rewrite(tmp_path / "0000000003.segment", 4096 + 28672, 148, 256)
    flip(tmp_path / "0000000003.segment", 4096 + 500)
    before = contents(tmp_path)
    with pytest.raises(LogVersionUnsupported, match="format version 3"):
        _open(tmp_path)
    after = contents(tmp_path)
    assert {name: after[name] for name in before} == before


def test_opening_with_another_segment_size_goes_on_with_the_new_one(tmp_path: Path) -> None:
    written = _damaged_log(tmp_path)
    with WriteAheadLog.open(tmp_path, CLUSTER, segment_bytes=2 * SEGMENT_BYTES) as log:
        written += [block.hash for block in append(log, [900] * 5)]
        assert hashes(log) == written
    with _open(tmp_path) as log:
        assert hashes(log) == written


def test_an_error_while_blocks_are_applied_leaves_the_log_free_for_another_try(tmp_path: Path) -> None:
    written = _damaged_log(tmp_path)

    def apply(block: Block) -> None:
        raise RuntimeError(f"{block} cannot be applied")

    with pytest.raises(RuntimeError):
        _start(tmp_path, apply)
    with _open(tmp_path) as log:
        assert hashes(log) == written


def _rewrite(path: Path, offset: int, crc_at: int, header_bytes: int) -> None:
    """Raise a header's version, and make its checksum right again."""
    data = bytearray(path.read_bytes())
    data[offset + 4] += 1
    header = data[offset : offset + header_bytes]
    crc = struct.pack("<I", zlib.crc32(header[:crc_at] + header[crc_at + 4 :]))
    data[offset + crc_at : offset + crc_at + 4] = crc
    path.write_bytes(data)


def _start_next_segment(directory: Path, number: int, first_index: int, first_position: int) -> Path:
    """Leave a segment as a power cut may: its header was written, its first block was not."""
    path = directory / f"{number:010d}.segment"
    segment = Segment(path, CLUSTER, number, first_index, first_position, SEGMENT_BYTES)
    path.write_bytes(segment.header_page().ljust(SEGMENT_BYTES, b"\0"))
    return path


def test_a_segment_that_holds_a_header_only_goes_on_where_the_one_before_it_ends(tmp_path: Path) -> None:
    written = _damaged_log(tmp_path)
    _start_next_segment(tmp_path, 4, 7, 2400)
    with _open(tmp_path) as log:
        assert log.last_hash == written[-1]
        assert replayed(log) == written
        written += [block.hash for block in append(log, [400, 10])]
        assert hashes(log) == written
    assert recovered(tmp_path) == (8, written)


def test_damage_before_a_segment_that_holds_a_header_only_is_corruption(tmp_path: Path) -> None:
    _damaged_log(tmp_path)
    _start_next_segment(tmp_path, 4, 7, 2400)
    flip(tmp_path / "0000000003.segment", 4096 + 28672 + 500)
    with pytest.raises(LogCorrupted, match="goes on at block 7") as caught:
        _open(tmp_path)
    assert caught.value.index == 6


def test_a_header_only_in_the_first_segment_is_an_empty_log(tmp_path: Path) -> None:
    _open(tmp_path).close()
    _start_next_segment(tmp_path, 1, 1, 0)
    with _open(tmp_path) as log:
        assert log.last_index == 0
        append(log, [1])
    assert recovered(tmp_path)[0] == 1


def test_a_recycled_log_without_a_whole_block_is_corruption(tmp_path: Path) -> None:
    with _open(tmp_path) as log:
        append(log, [900])
        append(log, [10])
        log.recycle_below(2)
    (tmp_path / "durable").unlink()
    flip(tmp_path / "0000000002.segment", 4096 + 300)
    with pytest.raises(LogCorrupted, match="at least one had been durable"):
        _open(tmp_path)


def test_a_segment_that_cannot_follow_the_one_before_it_is_corruption(tmp_path: Path) -> None:
    _damaged_log(tmp_path)
    _start_next_segment(tmp_path, 2, 1, 0)
    with pytest.raises(LogCorrupted, match="cannot follow"):
        _open(tmp_path)


def test_a_segment_of_another_chain_in_the_middle_is_found_by_whoever_reads_it(tmp_path: Path) -> None:
    _damaged_log(tmp_path / "a")
    other = _open(tmp_path / "b")
    for _ in range(6):
        append(other, [400], epoch=2)
    abandon(other)
    name = "0000000002.segment"
    (tmp_path / "a" / name).write_bytes((tmp_path / "b" / name).read_bytes())
    with pytest.raises(LogCorrupted, match="does not follow") as caught:
        _start(tmp_path / "a")
    assert caught.value.index == 3
    with _open(tmp_path / "a") as log, pytest.raises(LogCorrupted, match="does not follow"):
        hashes(log)


@pytest.mark.parametrize("to_index", [0, 1, 2, 3, 6])
def test_a_replay_ends_at_the_index_that_it_was_given(tmp_path: Path, to_index: int) -> None:
    written = _damaged_log(tmp_path)
    with _open(tmp_path) as log:
        assert replayed(log, to_index) == written[:to_index]
        assert log.last_index == 6, "what is behind it stays in the log"


def test_a_replay_to_an_index_looks_at_no_later_block(tmp_path: Path) -> None:
    written = _damaged_log(tmp_path)
    flip(tmp_path / "0000000002.segment", 4096 + 500)
    with _open(tmp_path) as log:
        assert replayed(log, 2) == written[:2]
        with pytest.raises(LogCorrupted):
            replayed(log, 3)


def test_a_replay_beyond_the_log_is_refused(tmp_path: Path) -> None:
    _damaged_log(tmp_path)
    with _open(tmp_path) as log:
        for to_index in (-1, 7):
            with pytest.raises(ValueError, match="ends with block 6"):
                replayed(log, to_index)


def test_a_replay_gives_what_was_appended_since_the_log_was_opened(tmp_path: Path) -> None:
    written = _damaged_log(tmp_path)
    with _open(tmp_path) as log:
        written += [block.hash for block in append(log, [400, 400, 1])]
        assert replayed(log) == written


def test_a_recycled_log_is_replayed_from_its_first_block(tmp_path: Path) -> None:
    written = _damaged_log(tmp_path)
    with _open(tmp_path) as log:
        log.recycle_below(3)
        assert replayed(log) == written[2:]
        assert replayed(log, 1) == []


def test_a_block_of_another_cluster_is_corruption(tmp_path: Path) -> None:
    _damaged_log(tmp_path)
    path = tmp_path / "0000000002.segment"
    data = bytearray(path.read_bytes())
    data[4096 + 8] ^= 1
    header = data[4096 : 4096 + 256]
    data[4096 + 148 : 4096 + 152] = struct.pack("<I", zlib.crc32(header[:148] + header[152:]))
    path.write_bytes(data)
    with pytest.raises(LogCorrupted, match="the block is cluster"):
        _start(tmp_path)
