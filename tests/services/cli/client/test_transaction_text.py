from typing import Any

import numpy as np
import pytest

import penstock
from penstock import LINKED, Columns, ResultCode
from penstock.client.watching.watched_block import WatchedBlock
from penstock.contract.result_code import DUPLICATE
from services.cli.client.transaction_text import fields_of, line_of, time_text


def watched(columns: Columns, result: int = ResultCode.OK) -> WatchedBlock:
    count = len(columns)
    return WatchedBlock(
        log_index=3,
        time_unix_nano=1_700_000_000_123_456_789,
        positions=np.arange(41, 41 + count, dtype=np.uint64),
        records=columns.records,
        payloads=columns.payloads,
        results=np.full(count, result, np.uint8),
        next_index=4,
        next_position=41 + count,
    )


LONG = "k" * 17


@pytest.mark.parametrize(
    ("columns", "line", "content"),
    [
        (
            penstock.transfers(1 << 100, 2, 3),
            f"41  TRANSFER  debit {1 << 100}  credit 2  amount 3  OK",
            {"debit": 1 << 100, "credit": 2, "amount": 3},
        ),
        (
            penstock.open_accounts(7, overdraft=True, namespace=9),
            "41  OPEN_ACCOUNT  namespace 9  account 7  overdraft True  OK",
            {"account": 7, "overdraft": True, "namespace": 9},
        ),
        (penstock.puts(b"a", b"1"), "41  PUT  key 'a'  value '1'  OK", {"key": "a", "value": "1"}),
        (penstock.puts(LONG.encode(), b"1"), f"41  PUT  key '{LONG}'  value '1'  OK", {"key": LONG, "value": "1"}),
        (penstock.puts(b"\0", b"\xff"), "41  PUT  key 0x00  value 0xff  OK", {"key_hex": "00", "value_hex": "ff"}),
        (penstock.deletes(b"a"), "41  DELETE  key 'a'  OK", {"key": "a"}),
        (
            penstock.cas(b"a", b"1", 5),
            "41  CAS  key 'a'  value '1'  expected_version 5  OK",
            {"key": "a", "value": "1", "expected_version": 5},
        ),
        (penstock.adds(LONG.encode(), -2), f"41  ADD  key '{LONG}'  amount -2  OK", {"key": LONG, "amount": -2}),
        (
            penstock.adds(b"a", -2, floor=-9),
            "41  ADD  key 'a'  amount -2  floor -9  OK",
            {"key": "a", "amount": -2, "floor": -9},
        ),
        (penstock.appends(b"hi"), "41  APPEND  payload 'hi'  OK", {"payload": "hi"}),
    ],
)  # fmt: skip
def test_a_transaction_reads_as_it_was_written(columns: Columns, line: str, content: dict[str, Any]) -> None:
    block = watched(columns)
    assert line_of(block, 0) == line
    assert content.items() <= fields_of(block, 0).items()


def test_each_transaction_of_a_block_has_its_own_payload() -> None:
    block = watched(penstock.puts([b"a", LONG.encode(), b"c"], [b"1", b"22", b"333"]))
    assert [fields_of(block, i)["value"] for i in range(3)] == ["1", "22", "333"]


def test_chains_duplicates_and_rejections_are_told() -> None:
    columns = penstock.transfers(1, 2, 3)
    columns.records["flags"] |= LINKED
    block = watched(columns, ResultCode.LINKED_FAILED | DUPLICATE)
    assert line_of(block, 0).endswith("amount 3  linked  duplicate  LINKED_FAILED")
    fields = fields_of(block, 0)
    assert (fields["linked"], fields["duplicate"], fields["result"]) == (True, True, "LINKED_FAILED")
    assert (fields["log_index"], fields["position"]) == (3, 41)


def test_records_of_sessions_are_told() -> None:
    columns = penstock.appends([b"", b""], operand=[0, 9])
    columns.records["operation"] = [penstock.Opcode.END_SESSION, penstock.Opcode.SET_SESSION_BOUNDS]
    columns.records["amount"] = [0, 7]
    block = watched(columns)
    assert line_of(block, 0) == "41  END_SESSION  OK"
    assert line_of(block, 1) == "42  SET_SESSION_BOUNDS  sessions 7  horizon_ns 9  result_pages 0  OK"


def test_what_a_newer_node_knows_is_shown_by_its_number() -> None:
    columns = penstock.appends(b"x")
    columns.records["operation"] = 99
    assert line_of(watched(columns, 77), 0) == "41  OPERATION_99  payload 'x'  RESULT_77"


def test_time_is_utc_to_the_microsecond() -> None:
    assert time_text(1_700_000_000_123_456_789) == "2023-11-14T22:13:20.123456Z"
