"""Results of transactions, and receipts of frames."""

from collections.abc import Iterator
from enum import IntEnum
from functools import partial
from itertools import count, repeat
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from penstock.client.errors import PenstockError
from penstock.contract import result_code
from penstock.contract.result_code import DUPLICATE
from penstock.v1.txqueue_pb2 import SubmitStreamResponse


class ResultCode(IntEnum):
    """Result of a transaction; the numbers of ``penstock.v1.ResultCode``."""

    UNSPECIFIED = 0
    """A code of a newer node, which this client does not know: the transaction did not take effect."""
    OK = result_code.OK
    KEY_NOT_FOUND = result_code.KEY_NOT_FOUND
    VERSION_MISMATCH = result_code.VERSION_MISMATCH
    OVERFLOW = result_code.OVERFLOW
    BELOW_FLOOR = result_code.BELOW_FLOOR
    INSUFFICIENT_FUNDS = result_code.INSUFFICIENT_FUNDS
    ACCOUNT_NOT_FOUND = result_code.ACCOUNT_NOT_FOUND
    SAME_ACCOUNT = result_code.SAME_ACCOUNT
    ACCOUNT_EXISTS = result_code.ACCOUNT_EXISTS
    LINKED_FAILED = result_code.LINKED_FAILED
    SEQUENCE_EXPIRED = result_code.SEQUENCE_EXPIRED
    SESSIONS_EXHAUSTED = result_code.SESSIONS_EXHAUSTED
    SEQUENCE_REUSED = result_code.SEQUENCE_REUSED


class Result(NamedTuple):
    """The result of one transaction, which is durable, and applied or rejected for good."""

    code: ResultCode
    duplicate: bool
    """It had been applied before: the code is the first submission's; log_index and position are those of this copy."""
    log_index: int
    """The block that holds it."""
    position: int
    """Its number in the log, from 0."""

    @property
    def ok(self) -> bool:
        """Whether it took effect (now, or when it was first submitted)."""
        return self.code is ResultCode.OK

    def raise_for_rejection(self) -> "Result":
        """Return this result where it is ok.

        Raises:
            Rejected: it is not.
        """
        if self.code is not ResultCode.OK:
            raise Rejected(self)
        return self


class Rejected(PenstockError):
    """A transaction was rejected. Raised only by ``Result.raise_for_rejection``."""

    def __init__(self, result: Result) -> None:
        super().__init__(result)
        self.result = result

    def __str__(self) -> str:
        return f"transaction {self.result.position} was rejected: {self.result.code.name}"


class FrameReceipt(NamedTuple):
    """The receipt of a frame of n transactions."""

    frame_id: int
    log_index: int
    """The block that holds the frame."""
    first_position: int
    """The number in the log of the frame's first transaction; the others follow."""
    results: npt.NDArray[np.uint8]
    """uint8[n], read-only: a ResultCode each, with DUPLICATE set on top where it had been applied before."""

    @property
    def ok(self) -> npt.NDArray[np.bool_]:
        """bool[n]: whether each took effect (now, or when it was first submitted)."""
        effective: npt.NDArray[np.bool_] = (self.results & np.uint8(DUPLICATE - 1)) == ResultCode.OK
        return effective

    @classmethod
    def of(cls, response: SubmitStreamResponse) -> "FrameReceipt":
        """The receipt that came as ``response``; the results are a view of its bytes."""
        results = np.frombuffer(response.results, np.uint8)
        return cls(response.frame_id, response.log_index, response.first_position, results)


_new_result = partial(tuple.__new__, Result)
_KNOWN: Final = {int(code): code for code in ResultCode}
_CODES: Final = [_KNOWN.get(code, ResultCode.UNSPECIFIED) for code in range(DUPLICATE)] * 2
_DUPLICATES: Final = [False] * DUPLICATE + [True] * DUPLICATE


def result_of(code: int, log_index: int, position: int) -> Result:
    """The Result of one transaction, whose byte in the receipt is ``code``."""
    return Result(_CODES[code], _DUPLICATES[code], log_index, position)


def results_of(response: SubmitStreamResponse) -> Iterator[Result]:
    """One Result per transaction of a receipt, without a Python call for each: a thousand take 0.1 ms."""
    codes = response.results
    return map(
        _new_result,
        zip(
            map(_CODES.__getitem__, codes),
            map(_DUPLICATES.__getitem__, codes),
            repeat(response.log_index),
            count(response.first_position),
        ),
    )
