"""Penstock: a high-throughput transaction pipeline.

    from penstock import AsyncClient, Transfer

    async with AsyncClient("127.0.0.1:50051") as client:
        result = await client.submit(Transfer(debit=1, credit=2, amount=100))
        print(result.code, result.position)

``Client`` is the same for programs without an event loop. The names below are loaded when first used, so that
importing the package, or the generated stubs under ``penstock.v1``, costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from penstock.client.async_client import AsyncClient
    from penstock.client.blocking_client import Client
    from penstock.client.columns.builders import adds, appends, cas, deletes, open_accounts, puts, transfers
    from penstock.client.columns.columns import Columns
    from penstock.client.columns.opcodes import Opcode
    from penstock.client.connection.connection_event import ConnectionEvent, ConnectionState
    from penstock.client.errors import (
        BlockGone,
        ClientClosed,
        Full,
        InvalidOperation,
        InvalidRequest,
        NotPermitted,
        NotReady,
        NotSupported,
        OutcomeUnknown,
        OutOfRange,
        Overloaded,
        PenstockError,
        Refused,
        SequenceReused,
        ServerError,
        Unavailable,
        UnsupportedRuntime,
    )
    from penstock.client.keys import AccountKey, CounterKey, Entry, Key, ValueKey
    from penstock.client.operations import Add, Append, Cas, Delete, OpenAccount, Operation, Put, Transfer
    from penstock.client.options import BatchOptions, FlowOptions, RetryOptions
    from penstock.client.results import FrameReceipt, Rejected, Result, ResultCode
    from penstock.client.submission import AsyncSubmission, Submission, TransactionKey
    from penstock.client.watching.session_operations import EndSession, SetSessionBounds, UnknownOperation
    from penstock.client.watching.transactions import Transaction, Transactions
    from penstock.client.watching.watched_block import WatchedBlock
    from penstock.contract.flag import FLOOR, LINKED, OVERDRAFT
    from penstock.contract.record import RECORD
    from penstock.contract.result_code import DUPLICATE

_HOME: Final = {
    "client.async_client": ("AsyncClient",),
    "client.blocking_client": ("Client",),
    "client.columns.builders": ("adds", "appends", "cas", "deletes", "open_accounts", "puts", "transfers"),
    "client.columns.columns": ("Columns",),
    "client.columns.opcodes": ("Opcode",),
    "client.connection.connection_event": ("ConnectionEvent", "ConnectionState"),
    "client.keys": ("AccountKey", "CounterKey", "Entry", "Key", "ValueKey"),
    "client.errors": (
        "BlockGone",
        "ClientClosed",
        "Full",
        "InvalidOperation",
        "InvalidRequest",
        "NotPermitted",
        "NotReady",
        "NotSupported",
        "OutOfRange",
        "OutcomeUnknown",
        "Overloaded",
        "PenstockError",
        "Refused",
        "SequenceReused",
        "ServerError",
        "Unavailable",
        "UnsupportedRuntime",
    ),
    "client.operations": ("Add", "Append", "Cas", "Delete", "OpenAccount", "Operation", "Put", "Transfer"),
    "client.options": ("BatchOptions", "FlowOptions", "RetryOptions"),
    "contract.flag": ("FLOOR", "LINKED", "OVERDRAFT"),
    "contract.record": ("RECORD",),
    "contract.result_code": ("DUPLICATE",),
    "client.results": ("FrameReceipt", "Rejected", "Result", "ResultCode"),
    "client.submission": ("AsyncSubmission", "Submission", "TransactionKey"),
    "client.watching.session_operations": ("EndSession", "SetSessionBounds", "UnknownOperation"),
    "client.watching.transactions": ("Transaction", "Transactions"),
    "client.watching.watched_block": ("WatchedBlock",),
}
_MODULE_OF: Final = {name: f"penstock.{module}" for module, names in _HOME.items() for name in names}

__all__ = [
    "DUPLICATE",
    "FLOOR",
    "LINKED",
    "OVERDRAFT",
    "RECORD",
    "AccountKey",
    "Add",
    "Append",
    "AsyncClient",
    "AsyncSubmission",
    "BatchOptions",
    "BlockGone",
    "Cas",
    "Client",
    "ClientClosed",
    "Columns",
    "ConnectionEvent",
    "ConnectionState",
    "CounterKey",
    "Delete",
    "EndSession",
    "Entry",
    "FlowOptions",
    "FrameReceipt",
    "Full",
    "InvalidOperation",
    "InvalidRequest",
    "Key",
    "NotPermitted",
    "NotReady",
    "NotSupported",
    "Opcode",
    "OpenAccount",
    "Operation",
    "OutOfRange",
    "OutcomeUnknown",
    "Overloaded",
    "PenstockError",
    "Put",
    "Refused",
    "Rejected",
    "Result",
    "ResultCode",
    "RetryOptions",
    "SequenceReused",
    "ServerError",
    "SetSessionBounds",
    "Submission",
    "Transaction",
    "TransactionKey",
    "Transactions",
    "Transfer",
    "Unavailable",
    "UnknownOperation",
    "UnsupportedRuntime",
    "ValueKey",
    "WatchedBlock",
    "adds",
    "appends",
    "cas",
    "deletes",
    "open_accounts",
    "puts",
    "transfers",
]


if not TYPE_CHECKING:  # a type checker would take any name for one that exists

    def __getattr__(name: str) -> object:
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULE_OF])
