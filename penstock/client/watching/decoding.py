"""Decoding of records into operations: the inverse of `penstock.client.operations`."""

from typing import Final, NamedTuple

from penstock.client.operations import Add, Append, Cas, Delete, OpenAccount, Operation, Put, Transfer
from penstock.client.watching.session_operations import EndSession, SetSessionBounds, UnknownOperation
from penstock.contract import opcode
from penstock.contract.flag import FLOOR, OVERDRAFT
from penstock.contract.limits import KEY_INLINE_BYTES_MAX

KEY_LENGTH_MASK: Final = 0xFFFF
"""Where a key's length stands in the upper half of the operand."""
_SIGN: Final = 1 << 63


class Row(NamedTuple):
    """A record's fields as plain integers: ``RECORD``'s, in its order."""

    client_id: int
    sequence: int
    key_lo: int
    key_hi: int
    operand_lo: int
    operand_hi: int
    amount: int
    namespace: int
    operation: int
    flags: int
    payload_length: int


def operation_of(row: Row, payload: bytes) -> Operation:
    """The operation that a record and its payload encode, equal to what was submitted."""
    key, operand, namespace = row.key_lo | row.key_hi << 64, row.operand_lo | row.operand_hi << 64, row.namespace
    match row.operation:
        case opcode.TRANSFER:
            return Transfer(key, operand, row.amount, namespace)
        case opcode.PUT:
            return Put(*_key_and_value(row, payload), namespace)
        case opcode.ADD:
            floor = (row.operand_lo ^ _SIGN) - _SIGN if row.flags & FLOOR else None
            return Add(_key_and_value(row, payload)[0], row.amount, floor, namespace)
        case opcode.APPEND:
            return Append(payload, namespace, key, operand)
        case opcode.CAS:
            return Cas(*_key_and_value(row, payload), row.operand_lo, namespace)
        case opcode.DELETE:
            return Delete(_key_and_value(row, payload)[0], namespace)
        case opcode.OPEN_ACCOUNT:
            return OpenAccount(key, bool(row.flags & OVERDRAFT), namespace)
        case opcode.END_SESSION:
            return EndSession(namespace)
        case opcode.SET_SESSION_BOUNDS:
            return SetSessionBounds(row.amount, row.operand_lo, row.operand_hi, namespace)
    return UnknownOperation(row.operation, key, operand, row.amount, row.flags, payload, namespace)


def _key_and_value(row: Row, payload: bytes) -> tuple[bytes, bytes]:
    length = row.operand_hi & KEY_LENGTH_MASK
    if length > KEY_INLINE_BYTES_MAX:
        return payload[:length], payload[length:]
    return (row.key_lo | row.key_hi << 64).to_bytes(16, "little")[:length], payload
