"""A frame in flight: its message, its ids, and the callers who wait for its receipt.

Receipts are small, and are parsed by protobuf.
"""

from abc import ABC, abstractmethod

import grpc

from penstock.client.errors import OutcomeUnknown, PenstockError, SequenceReused, Unavailable
from penstock.contract.record import RECORD_BYTES
from penstock.v1.txqueue_pb2 import SubmitStreamResponse


class Frame(ABC):
    """A frame on its way. It keeps its message until it is answered, to send it again under the same ids."""

    __slots__ = (
        "client_id",
        "count",
        "deadline",
        "first_sequence",
        "frame_id",
        "fresh",
        "in_doubt",
        "message",
        "obstacle",
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
        """On the event loop's clock; set when the frame is handed to the stream."""
        self.fresh = False
        """Its sequences were given out for it, and it has not been on the wire twice: none can have been applied."""
        self.written = False
        """It is on the wire and neither answered nor refused yet."""
        self.in_doubt = False
        """It was on the wire when a stream broke: it may have taken effect."""
        self.obstacle: PenstockError | None = None
        """Why it was not taken, the last time it was tried."""

    @abstractmethod
    def complete(self, response: SubmitStreamResponse) -> None:
        """Tells those who wait what they were answered."""

    def answer(self, response: SubmitStreamResponse) -> None:
        """Like ``complete``, unless the answers are to another's transactions."""
        if self.fresh and not response.results.isascii():  # isascii: no byte has DUPLICATE's bit, found at once
            self.fail(SequenceReused(self.client_id, self.first_sequence))
        else:
            self.complete(response)

    def refuse(self, error: PenstockError) -> None:
        """Like ``fail``, where it was this frame that the node would not take, not the whole stream."""
        self.fail(error)

    @abstractmethod
    def fail(self, error: PenstockError) -> None:
        """Tells those who wait that there will be no answer."""

    def unanswered(self, cause: str) -> PenstockError:
        """What to raise when trying ends without a receipt: a refusal only where nothing can have taken effect."""
        if not self.written and not self.in_doubt:
            return self.obstacle or Unavailable(f"not sent: {cause}", code=grpc.StatusCode.UNAVAILABLE.value[0])
        if self.obstacle is not None:
            cause = f"{cause}; {self.obstacle}"
        return OutcomeUnknown(self.client_id, self.first_sequence, self.count, cause)
