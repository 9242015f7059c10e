"""Transactions of a block, spelled out: operation, keys, values, accounts and results, as fields and as a line."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from penstock.client.columns.opcodes import Opcode
from penstock.client.operations import Add, Append, Cas, Delete, OpenAccount, Operation, Put, Transfer
from penstock.client.watching.session_operations import SetSessionBounds, UnknownOperation
from penstock.client.watching.transactions import Transactions
from penstock.contract import flag, result_code
from penstock.contract.frame_codec import Bytes
from penstock.contract.record import RECORD
from replication.log.block import Block

Fields = dict[str, Any]
Records = np.ndarray[Any, Any]
"""``RECORD[n]``."""

_COLUMNS: Final = 80
_FLAGS: Final = {flag.LINKED: "LINKED", flag.OVERDRAFT: "OVERDRAFT", flag.FLOOR: "FLOOR"}
_RESULTS: Final = {
    code: name for name, code in vars(result_code).items() if name.isupper() and code != result_code.DUPLICATE
}


def records_of(block: Block) -> Records:
    """Return a block's records as ``RECORD[n]``, a view."""
    rows: Records = block.records.reshape(-1).view(RECORD)
    return rows


def fields_of(block: Block, numbers: Sequence[int], results: bytes) -> Iterator[Fields]:
    """Yield the fields of a block's transactions ``numbers``, counted from 0 within the block.

    ``results`` are those of the whole block, 0 where one is not known.
    """
    records = records_of(block)
    positions = np.arange(block.first_position, block.next_position, dtype=np.uint64)
    codes = np.frombuffer(results, np.uint8)
    transactions = Transactions(block.index, positions, records, block.payloads.data, codes)
    for number in numbers:
        transaction, flags = transactions[number], int(records[number]["flags"])
        operation = transaction.operation
        yield {
            "log_index": block.index,
            "position": transaction.position,
            "client_id": str(transaction.key.client_id),
            "sequence": transaction.key.sequence,
            "namespace": int(records[number]["namespace"]),
            "operation": _name(operation),
            "flags": [name for bit, name in _FLAGS.items() if flags & bit],
            **_operands(operation),
            **_result(int(codes[number])),
        }


def line_of(fields: Fields) -> str:
    """Return a transaction's fields as a line of 80 columns, what is too long cut short with dots."""
    head = f"{fields['position']:>12}  {fields['operation']:<12} "
    tail = f"  {fields['result'] or '?'}{' (again)' if fields['duplicate'] else ''}"
    linked = " linked" if "LINKED" in fields["flags"] else ""
    room = _COLUMNS - len(head) - len(linked) - len(tail)
    what = _what(fields)
    return f"{head}{what if len(what) <= room else what[: room - 3] + '...':<{room}}{linked}{tail}"


def _name(operation: Operation) -> str:
    return str(operation.opcode) if isinstance(operation, UnknownOperation) else Opcode(operation.number).name


def _operands(operation: Operation) -> Fields:
    match operation:
        case Put(key, value):
            return _bytes_field("key", key) | _bytes_field("value", value)
        case Cas(key, value, version):
            return _bytes_field("key", key) | _bytes_field("value", value) | {"expected_version": version}
        case Delete(key):
            return _bytes_field("key", key)
        case Add(key, amount, floor):
            return _bytes_field("key", key) | {"amount": amount} | ({} if floor is None else {"floor": floor})
        case Transfer(debit, credit, amount):
            return {"debit_account": str(debit), "credit_account": str(credit), "amount": amount}
        case OpenAccount(account):
            return {"account": str(account)}
        case SetSessionBounds(sessions, horizon_ns, result_pages):
            return {"sessions_max": sessions, "kept_ns": horizon_ns, "result_pages": result_pages}
        case Append(payload=payload) | UnknownOperation(payload=payload):
            return _bytes_field("payload", payload)
    return {}


def _bytes_field(name: str, octets: Bytes) -> Fields:
    """Give bytes in hexadecimal, and as text where they are text."""
    content = bytes(octets)
    fields: Fields = {f"{name}_hex": content.hex()}
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return fields
    return fields | {name: text} if text.isprintable() else fields


def _result(code: int) -> Fields:
    name = _RESULTS.get(code & ~result_code.DUPLICATE)
    return {"result": name, "duplicate": bool(code & result_code.DUPLICATE) if name else None}


def _what(fields: Fields) -> str:
    match fields["operation"]:
        case "PUT":
            return f"{_shown(fields, 'key')} = {_shown(fields, 'value')}"
        case "CAS":
            return f"{_shown(fields, 'key')} = {_shown(fields, 'value')} if version {fields['expected_version']}"
        case "DELETE":
            return _shown(fields, "key")
        case "ADD":
            floor = f", at least {fields['floor']}" if "floor" in fields else ""
            return f"{_shown(fields, 'key')} {fields['amount']:+d}{floor}"
        case "TRANSFER":
            return f"{fields['amount']} from {fields['debit_account']} to {fields['credit_account']}"
        case "OPEN_ACCOUNT":
            return f"{fields['account']}{' with overdraft' if 'OVERDRAFT' in fields['flags'] else ''}"
        case "SET_SESSION_BOUNDS":
            return f"at most {fields['sessions_max']}, kept {fields['kept_ns'] / 1e9:g} s"
        case "END_SESSION":
            return ""
        case _:
            return _shown(fields, "payload")


def _shown(fields: Fields, name: str) -> str:
    return json.dumps(fields[name], ensure_ascii=False) if name in fields else f"0x{fields[f'{name}_hex']}"
