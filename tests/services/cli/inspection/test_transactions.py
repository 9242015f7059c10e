"""What the log's commands show of a transaction is what was submitted, and what it was answered."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from penstock.contract import flag, opcode, result_code
from penstock.contract.record import RECORD, RECORD_BYTES
from pooling.buffers import aligned_buffer
from replication.log.ballot import Ballot
from replication.log.block import HEADER_BYTES, Block, stored_bytes
from replication.log.write_ahead_log import WriteAheadLog
from services.cli.log import log as command
from tests.replication.log.chain import CLUSTER, SEGMENT_BYTES

LONG = "a key of more than sixteen bytes"


def _row(operation: int, payload: bytes = b"", key: bytes | None = None, **fields: int) -> tuple[Any, bytes]:
    row = np.zeros((), RECORD)
    row["operation"] = operation
    if key is not None:
        fields["operand_hi"] = len(key)
        if len(key) > 16:
            payload = key + payload
        else:
            fields["key_lo"] = int.from_bytes(key[:8], "little")
            fields["key_hi"] = int.from_bytes(key[8:], "little")
    row["payload_length"] = len(payload)
    for name, value in fields.items():
        row[name] = value
    return row, payload


TRANSACTIONS = [
    _row(opcode.PUT, b"hello", b"greeting", client_id=7, sequence=1),
    _row(opcode.PUT, b"\x00\xff", LONG.encode(), client_id=7, sequence=2, namespace=3),
    _row(opcode.CAS, b"new", b"greeting", client_id=7, sequence=3, operand_lo=12),
    _row(opcode.DELETE, b"", b"\xfe\xff", client_id=7, sequence=4),
    _row(opcode.ADD, b"", b"hits", client_id=2**64 - 1, sequence=1, amount=-5, flags=flag.FLOOR, operand_lo=2**64 - 9),
    _row(opcode.TRANSFER, key_lo=1, key_hi=1, operand_lo=2, amount=100, client_id=9, sequence=1, flags=flag.LINKED),
    _row(opcode.TRANSFER, key_lo=2, operand_lo=1, operand_hi=1, amount=2**63 - 1, client_id=9, sequence=2),
    _row(opcode.OPEN_ACCOUNT, key_lo=2, flags=flag.OVERDRAFT, client_id=9, sequence=3),
    _row(opcode.END_SESSION, client_id=9, sequence=4),
    _row(opcode.SET_SESSION_BOUNDS, amount=100, operand_lo=3_600_000_000_000, operand_hi=50),
    _row(opcode.APPEND, b"any text that the application likes, however long it may be " * 3, client_id=9, sequence=5),
]
RESULTS = bytes([1, 2, 3, 1, 5, 10, 1 | result_code.DUPLICATE, 9, 1, 1, 0])


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A data directory with a log of two blocks, each of all transactions, and the results of the first."""
    with WriteAheadLog.open(tmp_path / "log", CLUSTER, segment_bytes=SEGMENT_BYTES) as wal:
        for _ in range(2):
            wal.append([_block(wal)])
        wal.sync()
    (tmp_path / "results").write_bytes(RESULTS)
    return tmp_path


def _block(wal: WriteAheadLog) -> Block:
    records = np.array([row for row, _ in TRANSACTIONS])
    body = records.tobytes() + b"".join(payload for _, payload in TRANSACTIONS)
    payload_bytes = len(body) - RECORD_BYTES * len(records)
    buffer = aligned_buffer(stored_bytes(len(records), payload_bytes))
    buffer[HEADER_BYTES : HEADER_BYTES + len(body)] = np.frombuffer(body, np.uint8)
    return Block.seal(
        buffer,
        cluster_id=CLUSTER,
        ballot=Ballot(1, 0),
        index=wal.last_index + 1,
        first_position=wal.last_position,
        count=len(records),
        payload_bytes=payload_bytes,
        time_ns=1_700_000_000_000_000_000,
        previous_hash=wal.last_hash,
        durable_index=wal.durable_index,
    )


def _run(*arguments: str | Path | int) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def _found(*arguments: str | Path | int) -> list[int]:
    result = _run("find", *arguments, "--json")
    assert result.exit_code == 0, result.output
    return [json.loads(line)["position"] for line in result.stdout.splitlines()]


def test_every_operation_is_spelled_out_with_its_result(log: Path) -> None:
    rows = [json.loads(line) for line in _run("dump", log, "--to", 1, "--json").stdout.splitlines()]
    assert [row["operation"] for row in rows] == [
        "PUT", "PUT", "CAS", "DELETE", "ADD", "TRANSFER", "TRANSFER", "OPEN_ACCOUNT",
        "END_SESSION", "SET_SESSION_BOUNDS", "APPEND",
    ]  # fmt: skip
    assert [row["result"] for row in rows] == [
        "OK", "KEY_NOT_FOUND", "VERSION_MISMATCH", "OK", "BELOW_FLOOR", "LINKED_FAILED", "OK", "ACCOUNT_EXISTS",
        "OK", "OK", None,
    ]  # fmt: skip
    assert [row["duplicate"] for row in rows] == [False] * 6 + [True, False, False, False, None]
    assert [row["position"] for row in rows] == list(range(11))
    put, long, cas, delete, add, linked, transfer, opened, ended, bounds, appended = rows
    assert (put["key"], put["value"], put["client_id"], put["sequence"]) == ("greeting", "hello", "7", 1)
    assert (long["key"], long["value_hex"], "value" in long, long["namespace"]) == (LONG, "00ff", False, 3)
    assert (cas["expected_version"], cas["value"]) == (12, "new")
    assert (delete["key_hex"], "key" in delete) == ("feff", False)
    assert (add["key"], add["amount"], add["floor"], add["client_id"]) == ("hits", -5, -9, str(2**64 - 1))
    assert (linked["debit_account"], linked["credit_account"]) == (str(2**64 + 1), "2")
    assert (linked["flags"], transfer["amount"]) == (["LINKED"], 2**63 - 1)
    assert (opened["account"], opened["flags"]) == ("2", ["OVERDRAFT"])
    assert (ended["client_id"], bounds["sessions_max"], bounds["kept_ns"], bounds["result_pages"]) == (
        "9", 100, 3_600_000_000_000, 50,
    )  # fmt: skip
    assert bytes.fromhex(appended["payload_hex"]) == TRANSACTIONS[-1][1]


def test_lines_keep_to_80_columns_and_show_what_matters(log: Path) -> None:
    lines = _run("dump", log, "--to", 1).stdout.splitlines()
    assert max(len(line) for line in lines) <= 80
    assert lines[0].startswith("block 1  2023-11-14T22:13:20.000000000Z  11 from 0")
    text = "\n".join(lines)
    for shown in (
        "client 7 from sequence 1",
        "client 7 from sequence 2 in namespace 3",
        '"greeting" = "hello"',
        '"greeting" = "new" if version 12',
        "0xfeff",
        '"hits" -5, at least -9',
        "100 from 184467440",
        "2 with overdraft",
        "at most 100, kept 3600 s",
        "BELOW_FLOOR",
        "OK (again)",
        "linked  LINKED_FAILED",
        "...  ?",
    ):
        assert shown in text


def test_results_that_are_not_there_are_unknown_and_not_guessed(log: Path) -> None:
    (log / "results").unlink()
    rows = [json.loads(line) for line in _run("dump", log, "--json").stdout.splitlines()]
    assert {row["result"] for row in rows} == {None}


def test_the_data_directory_and_the_log_in_it_are_the_same_to_the_commands(log: Path) -> None:
    for arguments in (("dump",), ("verify",), ("find", "--client", "7")):
        outputs = {_run(arguments[0], directory, *arguments[1:]).stdout for directory in (log, log / "log")}
        assert len(outputs) == 1


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        (("--client", "7"), [0, 1, 2, 3]),
        (("--client", "0xffffffffffffffff"), [4]),
        (("--key", "greeting"), [0, 2]),
        (("--key", LONG), [1]),
        (("--key", LONG[:-1] + "x"), []),
        (("--key", "0xfeff"), [3]),
        (("--key", "greeting", "--client", "8"), []),
        (("--account", "2"), [5, 6, 7]),
        (("--account", str(2**64 + 1)), [5, 6]),
        (("--namespace", "3"), [1]),
    ],
)
def test_find_gives_what_was_asked_for_and_nothing_else(
    log: Path, options: tuple[str, ...], numbers: list[int]
) -> None:
    assert _found(log, *options) == [*numbers, *(11 + number for number in numbers)]
    assert _found(log, *options, "--to", 1) == numbers
    assert _found(log, *options, "--from", 2) == [11 + number for number in numbers]


@pytest.mark.parametrize("position", [0, 10, 11, 21])
def test_find_goes_straight_to_a_position(log: Path, position: int) -> None:
    assert _found(log, "--position", position) == [position]
    assert _found(log, "--position", position, "--from", 2) == [position] * (position > 10)


def test_find_says_where_nothing_is_found(log: Path) -> None:
    for options in (("--position", "22"), ("--client", "1")):
        result = _run("find", log, *options)
        assert (result.exit_code, result.stdout) == (0, "")
        assert "nothing found" in result.stderr


@pytest.mark.parametrize(
    "options",
    [(), ("--client", "x"), ("--client", "-1"), ("--client", str(2**64)), ("--key", "0xabc"), ("--account", "1e3")],
)
def test_find_refuses_what_it_cannot_look_for(log: Path, options: tuple[str, ...]) -> None:
    assert _run("find", log, *options).exit_code == 2
