"""Frames for tests, built field by field so that each field can be wrong on purpose."""

from typing import Any

import numpy as np
from google.rpc import status_pb2

from penstock.contract import opcode, record
from penstock.v1 import txqueue_pb2


def rows(count: int, **columns: Any) -> "np.ndarray[tuple[int], np.dtype[np.void]]":
    """Make ``count`` APPENDs of client 1 with sequences from 1, then set columns by name."""
    table = np.zeros(count, record.RECORD)
    table["client_id"] = 1
    table["sequence"] = np.arange(1, count + 1)
    table["operation"] = opcode.APPEND
    for name, values in columns.items():
        table[name] = values
    return table


def transfers(count: int, debit: int = 1, credit: int = 2, amount: int = 1, **columns: Any) -> Any:
    """Make transfers between two accounts."""
    return rows(count, operation=opcode.TRANSFER, key_lo=debit, operand_lo=credit, amount=amount, **columns)


def frame(table: Any, payloads: bytes = b"", frame_id: int = 1) -> txqueue_pb2.SubmitFrameRequest:
    """Wrap records as a frame."""
    return txqueue_pb2.SubmitFrameRequest(frame_id=frame_id, records=table.tobytes(), payloads=payloads)


def status_of(error: Any) -> Any:
    """The google.rpc.Status of a call's error, sync or asyncio."""
    return status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
