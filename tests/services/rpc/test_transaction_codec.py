"""A spelled-out transaction becomes the record that the contract lays down, or is told which field cannot."""

from typing import Any

import numpy as np
import pytest

from penstock.contract import flag, opcode
from penstock.contract.reasons import Reason
from penstock.contract.record import RECORD
from penstock.v1 import record_pb2, txqueue_pb2
from services.rpc.transaction_codec import InvalidTransaction, frame_of, response_of

LONG_KEY = bytes(range(20))


def encode(**fields: Any) -> tuple[Any, bytes]:
    transaction = txqueue_pb2.Transaction(client_id=5, sequence=6, namespace=7, **fields)
    encoded = frame_of(transaction, np.zeros(1, RECORD))
    (row,) = np.frombuffer(encoded.records, RECORD)
    assert (row["client_id"], row["sequence"], row["namespace"]) == (5, 6, 7)
    assert row["payload_length"] == len(encoded.payloads)
    return row, encoded.payloads


def test_each_operation_fills_the_fields_that_it_uses() -> None:
    row, payload = encode(append=txqueue_pb2.Append(payload=b"abc"))
    assert (row["operation"], payload) == (opcode.APPEND, b"abc")

    row, payload = encode(put=txqueue_pb2.Put(key=b"key", value=b"value"))
    assert (row["operation"], row["operand_hi"], payload) == (opcode.PUT, 3, b"value")
    assert (row["key_lo"], row["key_hi"]) == (int.from_bytes(b"key", "little"), 0)

    row, payload = encode(put=txqueue_pb2.Put(key=LONG_KEY, value=b"value"))
    assert (row["operand_hi"], row["key_lo"], row["key_hi"], payload) == (20, 0, 0, LONG_KEY + b"value")

    row, payload = encode(delete=txqueue_pb2.Delete(key=b"0123456789abcdef"))
    assert (row["operation"], row["operand_hi"], payload) == (opcode.DELETE, 16, b"")
    assert row["key_hi"] == int.from_bytes(b"89abcdef", "little")

    row, payload = encode(cas=txqueue_pb2.Cas(key=b"k", value=b"v", expected_version=9))
    assert (row["operation"], row["operand_lo"], payload) == (opcode.CAS, 9, b"v")

    row, _ = encode(add=txqueue_pb2.Add(key=b"k", amount=-4))
    assert (row["operation"], row["amount"], row["flags"], row["operand_lo"]) == (opcode.ADD, -4, 0, 0)

    row, _ = encode(add=txqueue_pb2.Add(key=b"k", amount=-4, floor=-1))
    assert (row["flags"], row["operand_lo"]) == (flag.FLOOR, (1 << 64) - 1)

    transfer = txqueue_pb2.Transfer(debit_account=b"\1" + bytes(15), credit_account=bytes(15) + b"\1", amount=3)
    row, _ = encode(transfer=transfer)
    assert (row["operation"], row["amount"]) == (opcode.TRANSFER, 3)
    assert (row["key_lo"], row["key_hi"], row["operand_lo"], row["operand_hi"]) == (1, 0, 0, 1 << 56)

    for overdraft, flags in ((True, flag.OVERDRAFT), (False, 0)):
        row, _ = encode(open_account=txqueue_pb2.OpenAccount(account=b"\2" + bytes(15), overdraft=overdraft))
        assert (row["operation"], row["key_lo"], row["flags"]) == (opcode.OPEN_ACCOUNT, 2, flags)


@pytest.mark.parametrize(
    ("transaction", "reason", "field"),
    [
        (txqueue_pb2.Transaction(), Reason.UNKNOWN_OPERATION, "operation"),
        (txqueue_pb2.Transaction(namespace=65_536), Reason.NAMESPACE_INVALID, "namespace"),
        (
            txqueue_pb2.Transaction(append=txqueue_pb2.Append(payload=bytes((1 << 20) + 1))),
            Reason.PAYLOAD_TOO_LARGE,
            "payload",
        ),
        (txqueue_pb2.Transaction(put=txqueue_pb2.Put()), Reason.KEY_LENGTH_INVALID, "put.key"),
        (txqueue_pb2.Transaction(delete=txqueue_pb2.Delete(key=bytes(1025))), Reason.KEY_LENGTH_INVALID, "delete.key"),
        (
            txqueue_pb2.Transaction(transfer=txqueue_pb2.Transfer(debit_account=bytes(15))),
            Reason.ACCOUNT_INVALID,
            "transfer.debit_account",
        ),
        (
            txqueue_pb2.Transaction(transfer=txqueue_pb2.Transfer(debit_account=bytes(16), credit_account=bytes(17))),
            Reason.ACCOUNT_INVALID,
            "transfer.credit_account",
        ),
        (
            txqueue_pb2.Transaction(open_account=txqueue_pb2.OpenAccount()),
            Reason.ACCOUNT_INVALID,
            "open_account.account",
        ),
    ],
)
def test_what_no_record_can_hold_is_refused_by_its_field(
    transaction: txqueue_pb2.Transaction, reason: Reason, field: str
) -> None:
    with pytest.raises(InvalidTransaction) as caught:
        frame_of(transaction, np.zeros(1, RECORD))
    assert caught.value.refusal.reason is reason
    assert caught.value.refusal.field == f"transaction.{field}"
    assert str(caught.value) == caught.value.refusal.message


@pytest.mark.parametrize("duplicate", [False, True])
def test_a_receipt_is_spelled_out(duplicate: bool) -> None:
    code = record_pb2.RESULT_CODE_KEY_NOT_FOUND | (128 if duplicate else 0)
    receipt = txqueue_pb2.SubmitFrameResponse(log_index=3, first_position=4, results=bytes([code]))
    assert response_of(receipt) == txqueue_pb2.SubmitResponse(
        result=record_pb2.RESULT_CODE_KEY_NOT_FOUND, duplicate=duplicate, log_index=3, position=4
    )
