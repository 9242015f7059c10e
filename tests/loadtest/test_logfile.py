"""The log reader yields what was written, and no more."""

import struct
from pathlib import Path

import pytest

from loadtest.logfile import LogUnreadable, read_blocks
from loadtest.verify import verify_log
from tests.loadtest.transactions import LogWriter, body, record


def frame(first: int, count: int) -> tuple[bytes, bytes]:
    return body(*(record(1, first + i, value=bytes([i]) * i) for i in range(count)))


def written(directory: Path, blocks: int = 5) -> LogWriter:
    log = LogWriter(directory, segment_bytes=4 * 4096)
    for number in range(blocks):
        log.append(*frame(number * 10 + 1, 10), time_ns=number)
    return log


def test_all_blocks_come_back_in_order_over_segments(tmp_path: Path) -> None:
    written(tmp_path)
    blocks = list(read_blocks(tmp_path))
    assert len(list(tmp_path.iterdir())) == 2
    assert [(b.index, b.first_position, b.count, b.time_ns) for b in blocks] == [
        (i + 1, i * 10, 10, i) for i in range(5)
    ]
    assert [(bytes(b.records), bytes(b.payloads)) for b in blocks] == [frame(i * 10 + 1, 10) for i in range(5)]


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
    image[2 * 4096 + 200] ^= 1
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


def test_the_encoder_of_these_tests_writes_the_header_of_the_format(tmp_path: Path) -> None:
    written(tmp_path, blocks=1)
    image = (tmp_path / "0000000001.segment").read_bytes()
    assert image[:4] == b"PSLG"
    assert image[4096:4100] == b"PSBK"
    assert struct.unpack_from("<Q", image, 4096 + 24) == (1,)
