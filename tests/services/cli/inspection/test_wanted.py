"""What is looked for in a block is found by each of its marks, and by all of them together."""

from pathlib import Path

import pytest

from penstock.contract import opcode
from services.cli.inspection.kept_results import KeptResults
from services.cli.inspection.transactions import fields_of
from services.cli.inspection.wanted import Wanted
from tests.frames import rows
from tests.services.blocks import chain

TRANSFERS = rows(
    3, client_id=[7, 7, 8], operation=opcode.TRANSFER, key_lo=[1, 2, 3], operand_lo=[2, 3, 1], namespace=[0, 1, 0]
)
ADDS = rows(2, client_id=9, operation=opcode.ADD, operand_hi=1, key_lo=[65, 66])
BLOCKS = chain(TRANSFERS, ADDS)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(), [[0, 1, 2], [0, 1]]),
        (Wanted(client_id=7), [[0, 1], []]),
        (Wanted(account=1), [[0, 2], []]),
        (Wanted(account=1, client_id=8), [[2], []]),
        (Wanted(namespace=1), [[1], []]),
        (Wanted(key=b"B"), [[], [1]]),
        (Wanted(key=b"a key of more than 16 bytes"), [[], []]),
        (Wanted(position=3), [[], [0]]),
    ],
)
def test_a_transaction_is_found_by_what_is_given_of_it(wanted: Wanted, found: list[list[int]]) -> None:
    assert [wanted.numbers(block) for block in BLOCKS] == found


def test_results_that_are_not_kept_are_unknown(tmp_path: Path) -> None:
    (tmp_path / "results").write_bytes(b"\1\5")
    with KeptResults(tmp_path / "results") as kept, KeptResults(tmp_path / "nothing") as nothing:
        assert kept.of(BLOCKS[0]) == b"\1\5\0"
        assert nothing.of(BLOCKS[0]) == bytes(3)


def test_fields_say_what_a_transaction_was_answered() -> None:
    first, *_ = fields_of(BLOCKS[0], [0], b"\1\5\0")
    assert first["operation"] == "TRANSFER"
    assert first["result"] == "OK"
