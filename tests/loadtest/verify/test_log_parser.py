"""The log reader yields what was written, and no more."""

import errno
import os
import struct
import threading
from pathlib import Path
from typing import Any

import pytest

from loadtest.verify.log_parser import LogUnreadable, read_blocks
from loadtest.verify.verify_log import verify_log
from tests.loadtest.verify.transactions import LogWriter, body, record


def frame(first: int, count: int) -> tuple[bytes, bytes]:
    return body(*(record(1, first + i, value=bytes([i]) * i) for i in range(count)))


def written(directory: Path, blocks: int = 5) -> LogWriter:
    log = LogWriter(directory, segment_bytes=4 * 4096)
    for number in range(blocks):
        log.append(*frame(number * 10 + 1, 10), time_ns=number)
    return log


def contents(directory: Path) -> list[tuple[int, int, int, int, bytes, bytes]]:
    return [
        (b.index, b.first_position, b.count, b.time_ns, bytes(b.records), bytes(b.payloads))
        for b in read_blocks(directory)
    ]


def test_all_blocks_come_back_in_order_over_segments(tmp_path: Path) -> None:
    written(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    assert contents(tmp_path) == [(i + 1, i * 10, 10, i, *frame(i * 10 + 1, 10)) for i in range(5)]


@pytest.mark.parametrize("pages", [1, 2, 3, 5])
def test_blocks_that_a_read_cuts_come_back_whole(tmp_path: Path, pages: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of one, two and three pages, through buffers of a few pages that are used over and over."""
    log = LogWriter(tmp_path, segment_bytes=16 * 4096)
    written = []
    for number in range(60):
        made = body(*(record(1, i, value=bytes([number]) * 90) for i in range(20 * (number % min(pages, 3) + 1))))
        position = log.position
        written.append((log.append(*made), position, len(made[0]) // 64, 1, *made))
    monkeypatch.setattr("loadtest.verify.log_parser._BUFFER_BYTES", pages * 4096)
    assert contents(tmp_path) == written


def test_a_block_larger_than_any_may_be_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogWriter(tmp_path)
    log.append(*frame(1, 3))
    log.append(*body(*(record(1, i) for i in range(64))))
    monkeypatch.setattr("loadtest.verify.log_parser._BUFFER_BYTES", 4096)
    with pytest.raises(LogUnreadable, match="byte 8192, block 2: has 4352 bytes, more than a block may have"):
        list(read_blocks(tmp_path))


def test_a_block_that_overruns_its_segment_is_reported(tmp_path: Path) -> None:
    log = LogWriter(tmp_path)
    log.append(*body(*(record(1, i) for i in range(64))))
    path = next(tmp_path.glob("*.segment"))
    path.write_bytes(path.read_bytes()[: 2 * 4096])
    with pytest.raises(LogUnreadable, match="overruns its segment by 256 bytes"):
        list(read_blocks(tmp_path))


def test_a_file_system_without_direct_reads_is_read_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path)
    expected, opened, refused = contents(tmp_path), os.open, []

    def refuse(path: Path, flags: int) -> int:
        if flags & os.O_DIRECT:
            refused.append(path)
            raise OSError(errno.EINVAL, "Invalid argument")
        return opened(path, flags)

    monkeypatch.setattr("loadtest.verify.log_parser.os.open", refuse)
    assert contents(tmp_path) == expected
    assert len(refused) == 2


def test_who_stops_early_leaves_no_reader_behind(tmp_path: Path) -> None:
    written(tmp_path)
    blocks = read_blocks(tmp_path)
    next(blocks)
    assert "log reader" in [thread.name for thread in threading.enumerate()]
    blocks.close()
    assert "log reader" not in [thread.name for thread in threading.enumerate()]


def test_a_log_without_blocks_is_empty(tmp_path: Path) -> None:
    assert list(read_blocks(tmp_path)) == []
    (tmp_path / "0000000001.segment").write_bytes(bytes(16384))
    assert list(read_blocks(tmp_path)) == []


def test_an_epochs_empty_block_is_a_block_like_any_other(tmp_path: Path) -> None:
    log = LogWriter(tmp_path)
    log.append(*frame(1, 3))
    log.append(b"", kind=2)
    log.append(*frame(4, 3))
    assert [(b.index, b.first_position, b.count) for b in read_blocks(tmp_path)] == [(1, 0, 3), (2, 3, 0), (3, 3, 3)]
    assert verify_log(tmp_path).verified


def test_old_blocks_of_a_recycled_segment_are_not_read(tmp_path: Path) -> None:
    written(tmp_path, blocks=4)
    last = tmp_path / "0000000002.segment"
    image = bytearray(last.read_bytes())
    first = (tmp_path / "0000000001.segment").read_bytes()
    image[2 * 4096 : 3 * 4096] = first[2 * 4096 : 3 * 4096]
    last.write_bytes(image)
    assert [b.index for b in read_blocks(tmp_path)] == [1, 2, 3, 4]


def test_a_torn_block_ends_the_log(tmp_path: Path) -> None:
    log = written(tmp_path)
    path = tmp_path / "0000000002.segment"
    image = bytearray(path.read_bytes())
    at = 4096 + 4096 * (log.index - 4)
    image[at : at + 64] = bytes(64)
    path.write_bytes(image)
    assert [b.index for b in read_blocks(tmp_path)] == [1, 2, 3, 4]


def test_a_damaged_body_is_reported_with_its_place(tmp_path: Path) -> None:
    written(tmp_path)
    path = tmp_path / "0000000001.segment"
    image = bytearray(path.read_bytes())
    image[2 * 4096 + 300] ^= 1
    path.write_bytes(image)
    with pytest.raises(LogUnreadable, match=r"0000000001.segment at byte 8192, block 2: the body"):
        list(read_blocks(tmp_path))


def test_positions_that_do_not_follow_are_reported(tmp_path: Path) -> None:
    log = LogWriter(tmp_path)
    log.append(*frame(1, 3))
    log.append(*frame(4, 3), position=4)
    with pytest.raises(LogUnreadable, match="starts at transaction 4, expected 3"):
        list(read_blocks(tmp_path))


def test_a_log_whose_beginning_was_recycled_is_refused(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "0000000001.segment").unlink()
    with pytest.raises(LogUnreadable, match="starts at block 4"):
        list(read_blocks(tmp_path))


def test_a_chain_goes_on_from_one_version_of_the_format_to_the_next(tmp_path: Path) -> None:
    log = LogWriter(tmp_path, segment_bytes=4 * 4096, version=1)
    for number in range(9):
        log.version = 1 if number < 4 else 2
        log.append(*frame(number * 10 + 1, 10), time_ns=number)
    assert contents(tmp_path) == [(i + 1, i * 10, 10, i, *frame(i * 10 + 1, 10)) for i in range(9)]


@pytest.mark.parametrize("changed", [{"version": 3}, {"flags": 1}, {"hash_algorithm": 2}, {"cipher": 1}])
def test_a_block_that_needs_more_than_is_known_here_is_refused(tmp_path: Path, changed: dict[str, Any]) -> None:
    log = LogWriter(tmp_path)
    log.append(*frame(1, 3))
    log.append(*frame(4, 3), **changed)
    with pytest.raises(LogUnreadable, match="block 2 is of format"):
        list(read_blocks(tmp_path))


def test_the_encoder_of_these_tests_writes_the_header_of_the_format(tmp_path: Path) -> None:
    written(tmp_path, blocks=1)
    image = (tmp_path / "0000000001.segment").read_bytes()
    assert image[:4] == b"PSLG"
    assert image[4096:4100] == b"PSBK"
    assert struct.unpack_from("<Q", image, 4096 + 24) == (1,)
