"""Text of a watched transaction: its operation, keys, values and result, for people and for programs."""

from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from penstock.client.columns.opcodes import Opcode
from penstock.client.results import ResultCode
from penstock.client.watch import WatchedBlock
from penstock.contract.flag import FLOOR, LINKED, OVERDRAFT
from penstock.contract.limits import KEY_INLINE_BYTES_MAX
from penstock.contract.result_code import DUPLICATE
from services.cli.client.bytes_text import json_of, text_of

_WIDTH: Final = 30
"""Characters of a key or a value in a line of 80."""


def fields_of(block: WatchedBlock, i: int) -> dict[str, Any]:
    """The i-th transaction of a block, for programs."""
    row = block.records[i]
    fields: dict[str, Any] = {
        "log_index": block.log_index,
        "time": time_text(block.time_unix_nano),
        "position": int(block.positions[i]),
        "client_id": int(row["client_id"]),
        "sequence": int(row["sequence"]),
        "result": _result(block, i),
        "duplicate": bool(block.results[i] & DUPLICATE),
        "operation": _operation(block, i),
        "namespace": int(row["namespace"]),
        "linked": bool(row["flags"] & LINKED),
    }
    for name, value in _content(block, i).items():
        fields |= json_of(name, value) if isinstance(value, bytes) else {name: value}
    return fields


def line_of(block: WatchedBlock, i: int) -> str:
    """The i-th transaction of a block, for people; long keys and values are cut."""
    parts = [str(block.positions[i]), _operation(block, i)]
    namespace = int(block.records[i]["namespace"])
    if namespace:
        parts.append(f"namespace {namespace}")
    for name, value in _content(block, i).items():
        parts.append(f"{name} {text_of(value, _WIDTH) if isinstance(value, bytes) else value}")
    if block.records[i]["flags"] & LINKED:
        parts.append("linked")
    if block.results[i] & DUPLICATE:
        parts.append("duplicate")
    parts.append(_result(block, i))
    return "  ".join(parts)


def time_text(time_ns: int) -> str:
    """A time of a block, in UTC and to the microsecond."""
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds // 1000:06d}Z"


def _operation(block: WatchedBlock, i: int) -> str:
    number = int(block.records[i]["operation"])
    return Opcode(number).name if number in Opcode.__members__.values() else f"OPERATION_{number}"


def _result(block: WatchedBlock, i: int) -> str:
    number = int(block.results[i]) & ~DUPLICATE
    return ResultCode(number).name if number in ResultCode.__members__.values() else f"RESULT_{number}"


def _content(block: WatchedBlock, i: int) -> dict[str, bytes | int | bool]:
    """What an operation says, by the names of its arguments."""
    row, payload = block.records[i], block.payload(i)
    first = int(row["key_lo"]) | int(row["key_hi"]) << 64
    second = int(row["operand_lo"]) | int(row["operand_hi"]) << 64
    operation, flags = int(row["operation"]), int(row["flags"])
    match operation:
        case Opcode.TRANSFER:
            return {"debit": first, "credit": second, "amount": int(row["amount"])}
        case Opcode.OPEN_ACCOUNT:
            return {"account": first, "overdraft": bool(flags & OVERDRAFT)}
        case Opcode.APPEND:
            return {"payload": payload}
        case Opcode.END_SESSION:
            return {}
        case Opcode.SET_SESSION_BOUNDS:
            return {"sessions": int(row["amount"]), "horizon_ns": int(row["operand_lo"])}
        case Opcode.PUT | Opcode.DELETE | Opcode.CAS | Opcode.ADD:
            length = int(row["operand_hi"])
            inline = length <= KEY_INLINE_BYTES_MAX
            key = first.to_bytes(16, "little")[:length] if inline else payload[:length]
            value = payload if inline else payload[length:]
            content: dict[str, bytes | int | bool] = {"key": key}
            if operation in (Opcode.PUT, Opcode.CAS):
                content["value"] = value
            if operation == Opcode.CAS:
                content["expected_version"] = int(row["operand_lo"])
            if operation == Opcode.ADD:
                content["amount"] = int(row["amount"])
                if flags & FLOOR:
                    content["floor"] = int(np.uint64(row["operand_lo"]).astype(np.int64))
            return content
    return {"payload": payload}
