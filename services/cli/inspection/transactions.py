"""Transactions of a block, spelled out: operation, keys, values, accounts and results, as fields and as a line."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from penstock.contract import flag, opcode, result_code
from penstock.contract.record import RECORD
from replication.log.block import Block

Fields = dict[str, Any]
Records = np.ndarray[Any, Any]
"""``RECORD[n]``."""

_COLUMNS: Final = 80
KEYED: Final = (opcode.PUT, opcode.DELETE, opcode.CAS, opcode.ADD)
"""Operations that have a key."""
SHORT_KEY_BYTES: Final = 16
"""Keys up to this length stand in the record, longer ones at the start of the payload."""
KEY_LENGTH_MASK: Final = 0xFFFF
"""Where a key's length stands in the upper half of the operand."""
_OPERATIONS: Final = {number: name for name, number in vars(opcode).items() if isinstance(number, int)}
_FLAGS: Final = {flag.LINKED: "LINKED", flag.OVERDRAFT: "OVERDRAFT", flag.FLOOR: "FLOOR"}
_RESULTS: Final = {
    code: name for name, code in vars(result_code).items() if name.isupper() and code != result_code.DUPLICATE
}


def records_of(block: Block) -> Records:
    """Return a block's records as ``RECORD[n]``, a view."""
    rows: Records = block.records.reshape(-1).view(RECORD)
    return rows


def payload_starts(records: Records) -> NDArray[np.int64]:
    """Return where each record's payload starts in the block's payloads, and behind them where the last one ends."""
    return np.concatenate(([0], np.cumsum(records["payload_length"], dtype=np.int64)))


def fields_of(block: Block, numbers: Sequence[int], results: bytes) -> Iterator[Fields]:
    """Yield the fields of a block's transactions ``numbers``, counted from 0 within the block.

    ``results`` are those of the whole block, 0 where one is not known, or empty where none is.
    """
    records = records_of(block)
    starts = payload_starts(records)
    for number in numbers:
        row = records[number]
        payload = block.payloads[starts[number] : starts[number + 1]].tobytes()
        flags = int(row["flags"])
        yield {
            "log_index": block.index,
            "position": block.first_position + number,
            "client_id": str(row["client_id"]),
            "sequence": int(row["sequence"]),
            "namespace": int(row["namespace"]),
            "operation": _OPERATIONS.get(int(row["operation"]), str(row["operation"])),
            "flags": [name for bit, name in _FLAGS.items() if flags & bit],
            **_operands(row, payload),
            **_result(results[number] if results else 0),
        }


def line_of(fields: Fields) -> str:
    """Return a transaction's fields as a line of 80 columns, what is too long cut short with dots."""
    head = f"{fields['position']:>12}  {fields['operation']:<12} "
    tail = f"  {fields['result'] or '?'}{' (again)' if fields['duplicate'] else ''}"
    linked = " linked" if "LINKED" in fields["flags"] else ""
    room = _COLUMNS - len(head) - len(linked) - len(tail)
    what = _what(fields)
    return f"{head}{what if len(what) <= room else what[: room - 3] + '...':<{room}}{linked}{tail}"


def _operands(row: Any, payload: bytes) -> Fields:
    operation, amount = int(row["operation"]), int(row["amount"])
    key, operand = (int(row[f"{half}_hi"]) << 64 | int(row[f"{half}_lo"]) for half in ("key", "operand"))
    if operation in KEYED:
        length = operand >> 64 & KEY_LENGTH_MASK
        short = key.to_bytes(SHORT_KEY_BYTES, "little")[:length]
        name, value = (short, payload) if length <= SHORT_KEY_BYTES else (payload[:length], payload[length:])
        fields = _bytes_field("key", name)
        if operation in (opcode.PUT, opcode.CAS):
            fields |= _bytes_field("value", value)
        if operation == opcode.CAS:
            fields["expected_version"] = int(row["operand_lo"])
        if operation == opcode.ADD:
            fields["amount"] = amount
            if int(row["flags"]) & flag.FLOOR:
                fields["floor"] = int(row["operand_lo"].astype(np.int64))
        return fields
    if operation == opcode.TRANSFER:
        return {"debit_account": str(key), "credit_account": str(operand), "amount": amount}
    if operation == opcode.OPEN_ACCOUNT:
        return {"account": str(key)}
    if operation == opcode.SET_SESSION_BOUNDS:
        return {"sessions_max": amount, "kept_ns": int(row["operand_lo"]), "result_pages": int(row["operand_hi"])}
    if operation == opcode.END_SESSION:
        return {}
    return _bytes_field("payload", payload)


def _bytes_field(name: str, content: bytes) -> Fields:
    """Give bytes in hexadecimal, and as text where they are text."""
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
