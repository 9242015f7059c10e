"""A frame: its bytes on the wire, and who is told of its receipt.

The message is built by hand (a SubmitStreamRequest is four tagged fields), because a protobuf object would copy the
640 kB of a full frame three times and the join here copies them once. Receipts are small and are left to protobuf.
"""

from abc import ABC, abstractmethod
from struct import Struct
from typing import Final

import grpc

from penstock.client.errors import OutcomeUnknown, PenstockError, SequenceReused, Unavailable
from penstock.contract.record import RECORD_BYTES
from penstock.v1.txqueue_pb2 import SubmitStreamResponse

Bytes = bytes | bytearray | memoryview

_HEAD: Final = Struct("<BQB")
"""Tag and value of frame_id (field 1, fixed64), tag of records (field 2, bytes)."""
_TAG_FRAME_ID: Final = 0x09
_TAG_RECORDS: Final = 0x12
_TAG_PAYLOADS: Final = b"\x1a"
_TAG_TRACEPARENT: Final = b"\x22"


def varint(number: int) -> bytes:
    """``number`` in protobuf's base-128 encoding."""
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def encode(frame_id: int, records: Bytes, payloads: Bytes = b"", traceparent: str = "") -> bytes:
    """The bytes of a SubmitStreamRequest, which are also those of a SubmitFrameRequest where there is no
    traceparent."""
    records_bytes = memoryview(records).nbytes
    parts = [_HEAD.pack(_TAG_FRAME_ID, frame_id, _TAG_RECORDS), varint(records_bytes), records]
    payload_bytes = memoryview(payloads).nbytes
    if payload_bytes:
        parts += (_TAG_PAYLOADS, varint(payload_bytes), payloads)
    if traceparent:
        encoded = traceparent.encode()
        parts += (_TAG_TRACEPARENT, varint(len(encoded)), encoded)
    return b"".join(parts)


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
