"""``penstock log`` prints what the log holds and tells a sound log from a damaged one."""

import errno
import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from replication.log.block import Block
from replication.log.write_ahead_log import WriteAheadLog
from services.cli.inspection.progress import Progress
from services.cli.log import log as command
from tests.fakes import ManualClock
from tests.replication.log.chain import CLUSTER, SEGMENT_BYTES, append, flip
from tests.replication.log.unsafe_disk import abandon


def _run(*arguments: str | Path | int) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.fixture
def blocks(tmp_path: Path) -> list[Block]:
    """Five blocks of a log that was closed cleanly."""
    with WriteAheadLog.open(tmp_path, CLUSTER, segment_bytes=SEGMENT_BYTES) as wal:
        return [block for count in (3, 1, 500, 600, 2) for block in append(wal, [count])]


def test_dump_prints_one_line_per_block_where_that_is_asked_for(tmp_path: Path, blocks: list[Block]) -> None:
    result = _run("dump", tmp_path, "--headers")
    assert result.exit_code == 0
    assert [line.split()[1] for line in result.stdout.splitlines()] == ["1", "2", "3", "4", "5"]
    rows = [json.loads(line) for line in _run("dump", tmp_path, "--headers", "--json").stdout.splitlines()]
    assert [row["hash"] for row in rows] == [block.hash.hex() for block in blocks]


def test_dump_keeps_to_the_blocks_asked_for(tmp_path: Path, blocks: list[Block]) -> None:
    result = _run("dump", tmp_path, "--from", 2, "--to", 4, "--json", "--headers")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["index"] for row in rows] == [2, 3, 4]
    assert [row["hash"] for row in rows] == [block.hash.hex() for block in blocks[1:4]]


def test_dump_from_a_block_does_not_read_the_segments_before_it(tmp_path: Path, blocks: list[Block]) -> None:
    flip(tmp_path / "0000000001.segment", 3 * 4096 + 300)
    result = _run("dump", tmp_path, "--from", 5, "--headers")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 1


def test_dump_prints_every_transaction(tmp_path: Path, blocks: list[Block]) -> None:
    result = _run("dump", tmp_path, "--to", 2, "--json")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["position"] for row in rows] == [0, 1, 2, 3]
    assert [row["sequence"] for row in rows] == [int(word) for block in blocks[:2] for word in block.records[:, 1]]
    lines = _run("dump", tmp_path, "--to", 2).stdout.splitlines()
    assert len([line for line in lines if line.split()[0].isdecimal()]) == 4


def test_dump_of_a_log_in_use_shows_what_is_known_to_be_durable(tmp_path: Path, blocks: list[Block]) -> None:
    with WriteAheadLog.open(tmp_path, CLUSTER, segment_bytes=SEGMENT_BYTES) as wal:
        append(wal, [1])
        result = _run("dump", tmp_path, "--headers")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 5
    assert "in use" in result.stderr


def test_verify_reports_a_sound_log(tmp_path: Path, blocks: list[Block]) -> None:
    result = _run("verify", tmp_path)
    assert result.exit_code == 0
    assert "blocks        5, from 1 to 5" in result.stdout
    assert "transactions  1106" in result.stdout
    assert blocks[-1].hash.hex() in result.stdout
    assert "verified" in result.stdout


def test_verify_tells_of_a_torn_tail_without_cutting_it(tmp_path: Path) -> None:
    wal = WriteAheadLog.open(tmp_path, CLUSTER, segment_bytes=SEGMENT_BYTES)
    append(wal, [3, 3])
    abandon(wal)
    flip(tmp_path / "0000000001.segment", 2 * 4096 + 300)
    for _ in range(2):
        result = _run("verify", tmp_path)
        assert result.exit_code == 0
        assert "torn tail" in result.stdout


@pytest.mark.parametrize("arguments", [("verify",), ("dump",)])
def test_a_damaged_log_exits_with_1_and_says_where(
    tmp_path: Path, blocks: list[Block], arguments: tuple[str, ...]
) -> None:
    flip(tmp_path / "0000000001.segment", 3 * 4096 + 300)
    result = _run(*arguments, tmp_path)
    assert result.exit_code == 1
    assert "CORRUPTED" in result.stderr
    assert "offset 12288, where block 3 should be" in result.stderr


def test_verify_checks_a_log_in_use_up_to_what_is_known_to_be_durable(tmp_path: Path, blocks: list[Block]) -> None:
    with WriteAheadLog.open(tmp_path, CLUSTER, segment_bytes=SEGMENT_BYTES) as wal:
        append(wal, [1])
        result = _run("verify", tmp_path)
        assert result.exit_code == 0
        assert "blocks        5, from 1 to 5" in result.stdout
        assert "verified: chain, hashes and positions hold up to block 5" in result.stdout
        append(wal, [900, 900])
    assert "from 1 to 8" in _run("verify", tmp_path).stdout


def test_verify_finds_damage_in_a_log_in_use(tmp_path: Path, blocks: list[Block]) -> None:
    with WriteAheadLog.open(tmp_path, CLUSTER, segment_bytes=SEGMENT_BYTES):
        flip(tmp_path / "0000000001.segment", 3 * 4096 + 300)
        result = _run("verify", tmp_path)
    assert result.exit_code == 1
    assert "where block 3 should be" in result.stderr


def test_verify_keeps_no_node_from_starting(
    tmp_path: Path, blocks: list[Block], monkeypatch: pytest.MonkeyPatch
) -> None:
    def start_a_node(*_: object) -> None:
        WriteAheadLog.open(tmp_path, CLUSTER, segment_bytes=SEGMENT_BYTES).close()

    monkeypatch.setattr(Progress, "advance", start_a_node)
    assert _run("verify", tmp_path).exit_code == 0


def test_verify_goes_on_where_a_node_gave_up_segments_meanwhile(
    tmp_path: Path, blocks: list[Block], monkeypatch: pytest.MonkeyPatch
) -> None:
    with WriteAheadLog.open(tmp_path, CLUSTER, segment_bytes=SEGMENT_BYTES) as wal:
        written = [block.hash.hex() for _ in range(9) for block in append(wal, [900])]
        wal._watermark.follow(wal.durable_index)

        def give_up(*_: object) -> None:
            wal.recycle_below(12)
            append(wal, [900])

        monkeypatch.setattr(Progress, "advance", give_up)
        result = _run("verify", tmp_path)
    assert (result.exit_code, result.stderr.count("CORRUPTED")) == (0, 0)
    assert written[-1] in result.stdout


def test_verify_says_how_far_it_has_come(capsys: pytest.CaptureFixture[str]) -> None:
    for is_terminal in (True, False):
        clock = ManualClock()
        progress = Progress(200, clock=clock, is_terminal=is_terminal)
        for done in range(200):
            clock.advance(0.11)
            progress.advance(done, done * 1_000_000)
        progress.end()
        told = capsys.readouterr().err
        assert ("\r" in told) is is_terminal
        assert told.count("MB/s") == (100 if is_terminal else 2)
        assert "50 %" in told or not is_terminal


@pytest.mark.parametrize("subcommand", ["verify", "dump", "find"])
def test_a_directory_without_a_log_says_so(tmp_path: Path, subcommand: str) -> None:
    options = ("--position", 1) if subcommand == "find" else ()
    assert _run(subcommand, tmp_path / "missing", *options).exit_code == 2
    result = _run(subcommand, tmp_path, *options)
    assert result.exit_code == os.EX_NOINPUT
    assert "holds no log" in result.stderr


def test_a_log_that_cannot_be_read_is_no_damage(
    tmp_path: Path, blocks: list[Block], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "preadv", fail)
    assert _run("verify", tmp_path).exit_code == os.EX_IOERR


def test_a_log_of_a_newer_format_is_no_damage(tmp_path: Path, blocks: list[Block]) -> None:
    (tmp_path / "cluster").write_text(json.dumps({"format": 99, "cluster_id": "7"}))
    assert _run("verify", tmp_path).exit_code == os.EX_DATAERR


def test_verify_of_a_log_whose_first_segment_is_missing_exits_with_1(tmp_path: Path, blocks: list[Block]) -> None:
    (tmp_path / "0000000001.segment").unlink()
    result = _run("verify", tmp_path)
    assert result.exit_code == 1
    assert "before this one, are missing" in result.stderr
