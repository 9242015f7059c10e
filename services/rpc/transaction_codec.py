"""Transaction codec: transactions spelled out in protobuf fields to frames of one record, and their receipts back."""

from typing import Final

import numpy as np

from penstock.contract import flag, limits, opcode, result_code
from penstock.contract.reasons import Reason
from penstock.v1 import record_pb2, txqueue_pb2
from services.refusal import Refusal

_ACCOUNT_BYTES: Final = 16
_NAMESPACE_MAX: Final = 0xFFFF


class InvalidTransaction(Exception):
    """A transaction cannot be written as a record; ``refusal`` says why."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(refusal.message)


def frame_of(
    transaction: txqueue_pb2.Transaction, row: "np.ndarray[tuple[int], np.dtype[np.void]]"
) -> txqueue_pb2.SubmitFrameRequest:
    """Write ``transaction`` as a frame of one record, by way of ``row``, a zeroed ``RECORD[1]``.

    Raises:
        InvalidTransaction: a field is missing or does not fit its place in the record.
    """
    row["client_id"], row["sequence"] = transaction.client_id, transaction.sequence
    if transaction.namespace > _NAMESPACE_MAX:
        raise _invalid(Reason.NAMESPACE_INVALID, "namespace")
    row["namespace"] = transaction.namespace
    payload = b""
    match transaction.WhichOneof("operation"):
        case "append":
            row["operation"] = opcode.APPEND
            payload = transaction.append.payload
        case "put":
            row["operation"] = opcode.PUT
            payload = _put_key(row, transaction.put.key, "put.key") + transaction.put.value
        case "delete":
            row["operation"] = opcode.DELETE
            payload = _put_key(row, transaction.delete.key, "delete.key")
        case "cas":
            row["operation"] = opcode.CAS
            payload = _put_key(row, transaction.cas.key, "cas.key") + transaction.cas.value
            row["operand_lo"] = transaction.cas.expected_version
        case "add":
            row["operation"] = opcode.ADD
            payload = _put_key(row, transaction.add.key, "add.key")
            row["amount"] = transaction.add.amount
            if transaction.add.HasField("floor"):
                row["flags"] = flag.FLOOR
                row["operand_lo"] = transaction.add.floor & 0xFFFF_FFFF_FFFF_FFFF
        case "transfer":
            row["operation"] = opcode.TRANSFER
            row["key_lo"], row["key_hi"] = _account(transaction.transfer.debit_account, "transfer.debit_account")
            row["operand_lo"], row["operand_hi"] = _account(
                transaction.transfer.credit_account, "transfer.credit_account"
            )
            row["amount"] = transaction.transfer.amount
        case "open_account":
            row["operation"] = opcode.OPEN_ACCOUNT
            row["key_lo"], row["key_hi"] = _account(transaction.open_account.account, "open_account.account")
            row["flags"] = flag.OVERDRAFT if transaction.open_account.overdraft else 0
        case None:
            raise _invalid(Reason.UNKNOWN_OPERATION, "operation", "one of the operations must be set")
    if len(payload) > limits.PAYLOAD_BYTES_MAX:
        raise _invalid(Reason.PAYLOAD_TOO_LARGE, "payload")
    row["payload_length"] = len(payload)
    return txqueue_pb2.SubmitFrameRequest(records=row.tobytes(), payloads=payload)


def response_of(receipt: txqueue_pb2.SubmitFrameResponse) -> txqueue_pb2.SubmitResponse:
    """Spell out the receipt of a frame of one record."""
    code = receipt.results[0]
    return txqueue_pb2.SubmitResponse(
        result=record_pb2.ResultCode.ValueType(code & ~result_code.DUPLICATE),
        duplicate=bool(code & result_code.DUPLICATE),
        log_index=receipt.log_index,
        position=receipt.first_position,
    )


def _put_key(row: "np.ndarray[tuple[int], np.dtype[np.void]]", key: bytes, field: str) -> bytes:
    """Write a key into its record; returns what of it goes into the payload."""
    if not 1 <= len(key) <= limits.KEY_BYTES_MAX:
        raise _invalid(Reason.KEY_LENGTH_INVALID, field, f"a key has 1 to 1,024 bytes, not {len(key)}")
    row["operand_hi"] = len(key)
    if len(key) > limits.KEY_INLINE_BYTES_MAX:
        return key
    padded = key.ljust(limits.KEY_INLINE_BYTES_MAX, b"\0")
    row["key_lo"], row["key_hi"] = int.from_bytes(padded[:8], "little"), int.from_bytes(padded[8:], "little")
    return b""


def _account(account: bytes, field: str) -> tuple[int, int]:
    if len(account) != _ACCOUNT_BYTES:
        raise _invalid(Reason.ACCOUNT_INVALID, field, f"an account has 16 bytes, little-endian, not {len(account)}")
    return int.from_bytes(account[:8], "little"), int.from_bytes(account[8:], "little")


def _invalid(reason: Reason, field: str, detail: str = "") -> InvalidTransaction:
    return InvalidTransaction(Refusal(reason, detail, field=f"transaction.{field}"))
