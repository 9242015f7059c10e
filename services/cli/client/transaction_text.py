"""Text of a watched transaction: its operation, keys, values and result, for people and for programs."""

from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, Final

from penstock.client.columns.opcodes import Opcode
from penstock.client.operations import Append
from penstock.client.results import ResultCode
from penstock.client.watching.session_operations import UnknownOperation
from penstock.client.watching.transactions import Transaction
from penstock.client.watching.watched_block import WatchedBlock
from penstock.contract.result_code import DUPLICATE
from services.cli.client.bytes_text import json_of, text_of

_WIDTH: Final = 30
"""Characters of a key or a value in a line of 80."""


def fields_of(block: WatchedBlock, i: int) -> dict[str, Any]:
    """The i-th transaction of a block, for programs."""
    transaction = block.transactions()[i]
    content = _content(transaction)
    shown: dict[str, Any] = {
        "log_index": block.log_index,
        "time": time_text(block.time_unix_nano),
        "position": transaction.position,
        "client_id": transaction.key.client_id,
        "sequence": transaction.key.sequence,
        "result": _result(block, i),
        "duplicate": transaction.result.duplicate,
        "operation": _operation(transaction),
        "namespace": content.pop("namespace"),
        "linked": transaction.linked,
    }
    for name, value in content.items():
        shown |= json_of(name, value) if isinstance(value, bytes) else {name: value}
    return shown


def line_of(block: WatchedBlock, i: int) -> str:
    """The i-th transaction of a block, for people; long keys and values are cut."""
    transaction = block.transactions()[i]
    content = _content(transaction)
    parts = [str(transaction.position), _operation(transaction)]
    if namespace := content.pop("namespace"):
        parts.append(f"namespace {namespace}")
    for name, value in content.items():
        parts.append(f"{name} {text_of(value, _WIDTH) if isinstance(value, bytes) else value}")
    if transaction.linked:
        parts.append("linked")
    if transaction.result.duplicate:
        parts.append("duplicate")
    parts.append(_result(block, i))
    return "  ".join(parts)


def time_text(time_ns: int) -> str:
    """A time of a block, in UTC and to the microsecond."""
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds // 1000:06d}Z"


def _operation(transaction: Transaction) -> str:
    operation = transaction.operation
    if isinstance(operation, UnknownOperation):
        return f"OPERATION_{operation.opcode}"
    return Opcode(operation.number).name


def _result(block: WatchedBlock, i: int) -> str:
    number = int(block.results[i]) & ~DUPLICATE
    return ResultCode(number).name if number in ResultCode.__members__.values() else f"RESULT_{number}"


def _content(transaction: Transaction) -> dict[str, Any]:
    """What an operation says, by the names of its arguments, the namespace among them."""
    operation = transaction.operation
    content = {each.name: getattr(operation, each.name) for each in fields(operation)}
    if isinstance(operation, UnknownOperation):
        del content["opcode"]
    unused = (None, 0) if isinstance(operation, Append | UnknownOperation) else (None,)
    return {name: value for name, value in content.items() if name == "namespace" or value not in unused}
