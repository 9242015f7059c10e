"""``penstock log`` prints what the log holds and tells a sound log from a damaged one."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from replication.log.block import Block
from replication.log.write_ahead_log import WriteAheadLog
from services.cli.log import log as command
from tests.replication.log.chain import CLUSTER, SEGMENT_BYTES, append, flip
from tests.replication.log.unsafe_disk import abandon


def _run(*arguments: str | Path | int) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.fixture
def blocks(tmp_path: Path) -> list[Block]:
    """Five blocks of a log that was closed cleanly."""
    with WriteAheadLog.open(tmp_path, CLUSTER, segment_bytes=SEGMENT_BYTES) as wal:
        return [block for count in (3, 1, 500, 600, 2) for block in append(wal, [count])]


def test_dump_prints_one_line_per_block(tmp_path: Path, blocks: list[Block]) -> None:
    result = _run("dump", tmp_path)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) == 5
    assert all(block.hash.hex() in line for block, line in zip(blocks, lines, strict=True))


def test_dump_keeps_to_the_blocks_asked_for(tmp_path: Path, blocks: list[Block]) -> None:
    rows = [json.loads(line) for line in _run("dump", tmp_path, "--from", 2, "--to", 4, "--json").stdout.splitlines()]
    assert [row["index"] for row in rows] == [2, 3, 4]
    assert [row["hash"] for row in rows] == [block.hash.hex() for block in blocks[1:4]]


def test_dump_prints_every_transaction(tmp_path: Path, blocks: list[Block]) -> None:
    result = _run("dump", tmp_path, "--to", 2, "--records", "--json")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["position"] for row in rows] == [0, 1, 2, 3]
    assert [row["sequence"] for row in rows] == [int(word) for block in blocks[:2] for word in block.records[:, 1]]
    assert len(_run("dump", tmp_path, "--to", 2, "--records").stdout.splitlines()) == 4


def test_dump_of_a_log_in_use_shows_what_is_known_to_be_durable(tmp_path: Path, blocks: list[Block]) -> None:
    with WriteAheadLog.open(tmp_path, CLUSTER, segment_bytes=SEGMENT_BYTES) as wal:
        append(wal, [1])
        result = _run("dump", tmp_path)
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
    flip(tmp_path / "0000000001.segment", 2 * 4096 + 200)
    for _ in range(2):
        result = _run("verify", tmp_path)
        assert result.exit_code == 0
        assert "torn tail" in result.stdout


@pytest.mark.parametrize("arguments", [("verify",), ("dump",)])
def test_a_damaged_log_exits_with_1_and_says_where(
    tmp_path: Path, blocks: list[Block], arguments: tuple[str, ...]
) -> None:
    flip(tmp_path / "0000000001.segment", 3 * 4096 + 200)
    result = _run(*arguments, tmp_path)
    assert result.exit_code == 1
    assert "CORRUPTED" in result.stderr
    assert "offset 12288, where block 3 should be" in result.stderr


def test_verify_of_a_log_in_use_exits_with_2(tmp_path: Path, blocks: list[Block]) -> None:
    with WriteAheadLog.open(tmp_path, CLUSTER, segment_bytes=SEGMENT_BYTES):
        result = _run("verify", tmp_path)
    assert result.exit_code == 2
    assert "stop that node" in result.stderr


@pytest.mark.parametrize("subcommand", ["verify", "dump"])
def test_a_directory_without_a_log_exits_with_2(tmp_path: Path, subcommand: str) -> None:
    assert _run(subcommand, tmp_path / "missing").exit_code == 2
    result = _run(subcommand, tmp_path)
    assert result.exit_code == 2
    assert "holds no log" in result.stderr


def test_verify_of_a_log_whose_first_segment_is_missing_exits_with_1(tmp_path: Path, blocks: list[Block]) -> None:
    (tmp_path / "0000000001.segment").unlink()
    result = _run("verify", tmp_path)
    assert result.exit_code == 1
    assert "before this one, are missing" in result.stderr
