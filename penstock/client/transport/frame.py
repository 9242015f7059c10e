"""A frame in flight: its message, its ids, and the callers who wait for its receipt.

Receipts are small, and are parsed by protobuf.
"""

from abc import ABC, abstractmethod
from typing import Final

import grpc

from penstock.client.errors import OutcomeUnknown, PenstockError, SequenceReused, Unavailable
from penstock.contract import result_code
from penstock.contract.record import RECORD_BYTES
from penstock.v1.txqueue_pb2 import SubmitStreamResponse

_REUSED: Final = bytes([result_code.SEQUENCE_REUSED])


class Frame(ABC):
    """A frame in flight. It keeps its message until it is answered, to send it again under the same ids."""

    __slots__ = (
        "client_id",
        "count",
        "deadline",
        "first_sequence",
        "frame_id",
        "fresh",
        "in_doubt",
        "last_error",
        "message",
        "written",
    )

    def __init__(self, frame_id: int, client_id: int, first_sequence: int, count: int, message: bytes) -> None:
        assert len(message) > count * RECORD_BYTES
        self.frame_id = frame_id
        self.client_id = client_id
        self.first_sequence = first_sequence
        self.count = count
        self.message = message
        self.deadline = 0.0
        """On the event loop's clock; set by the stream."""
        self.fresh = False
        """Its sequences are new and it has been on the wire once at most, so none can have been applied before."""
        self.written = False
        """It is on the wire, neither answered nor refused."""
        self.in_doubt = False
        """It was on the wire when a stream broke, so it may have taken effect."""
        self.last_error: PenstockError | None = None
        """The error of its last attempt."""

    @abstractmethod
    def complete(self, response: SubmitStreamResponse) -> None:
        """Give the waiting callers their results."""

    def answer(self, response: SubmitStreamResponse) -> None:
        """``complete``, unless the results are those of transactions that somebody else submitted under these ids."""
        # isascii: no byte has DUPLICATE's bit, found at once.
        if self.fresh and (not response.results.isascii() or _REUSED in response.results):
            self.fail(SequenceReused(self.client_id, self.first_sequence))
        else:
            self.complete(response)

    def refuse(self, error: PenstockError) -> None:
        """``fail``, where the node refused this frame and not the whole stream."""
        self.fail(error)

    @abstractmethod
    def fail(self, error: PenstockError) -> None:
        """Give the waiting callers the error."""

    def unanswered(self, cause: str) -> PenstockError:
        """The error to end with when there is no receipt: a refusal only where nothing can have taken effect."""
        if not self.written and not self.in_doubt:
            return self.last_error or Unavailable(f"not sent: {cause}", code=grpc.StatusCode.UNAVAILABLE.value[0])
        if self.last_error is not None:
            cause = f"{cause}; {self.last_error}"
        return OutcomeUnknown(self.client_id, self.first_sequence, self.count, cause)
