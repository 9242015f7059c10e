"""Why a call or a frame is refused, and how that is told: google.rpc.Status with ErrorInfo, BadRequest and RetryInfo.

A refusal is a value, not an exception: on a stream it answers one frame and harms no other.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple, NoReturn

import grpc
import grpc.aio
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from penstock.v1 import txqueue_pb2

DOMAIN: Final = "penstock"
"""ErrorInfo's domain: reasons are unique within it."""

Context = grpc.aio.ServicerContext[Any, Any]

_STATUS_TRAILER: Final = "grpc-status-details-bin"
_RETRY_AFTER_MS: Final = 20


class Reason(StrEnum):
    """Refusals that come from the node's condition; bad input has reasons of its own, named by who checks it."""

    QUEUE_FULL = "QUEUE_FULL"
    IN_FLIGHT_LIMIT = "IN_FLIGHT_LIMIT"
    STATE_FULL = "STATE_FULL"
    LOG_FULL = "LOG_FULL"
    SHUTTING_DOWN = "SHUTTING_DOWN"
    NODE_FAILED = "NODE_FAILED"
    BLOCK_GONE = "BLOCK_GONE"


class _Kind(NamedTuple):
    code: grpc.StatusCode
    message: str
    retry: bool = False


_KINDS: Final = {
    Reason.QUEUE_FULL: _Kind(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "the node's queue is full; nothing was taken: send the frame again",
        retry=True,
    ),
    Reason.IN_FLIGHT_LIMIT: _Kind(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "too many frames await their receipts; nothing was taken: send the frame again when some have come",
        retry=True,
    ),
    Reason.STATE_FULL: _Kind(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "the state's tables are nearly full; nothing was taken: the operator has to raise state.bytes_max",
    ),
    Reason.LOG_FULL: _Kind(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "the log's disk is full; nothing was taken: the operator has to make room, then send the frame again",
        retry=True,
    ),
    Reason.SHUTTING_DOWN: _Kind(
        grpc.StatusCode.UNAVAILABLE, "the node is shutting down; nothing was taken: try again later", retry=True
    ),
    Reason.NODE_FAILED: _Kind(
        grpc.StatusCode.UNAVAILABLE,
        "the node stopped on an error, and whether the frame is in the log is unknown: send the same ids again later",
    ),
    Reason.BLOCK_GONE: _Kind(
        grpc.StatusCode.OUT_OF_RANGE, "the log no longer holds this block: watch from 0, the oldest that it holds"
    ),
}
assert _KINDS.keys() == set(Reason)

_NOT_PERMITTED: Final = frozenset({"NAMESPACE_NOT_ALLOWED"})
"""Reasons to refuse input that is well formed."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refusal, ready to be told in either of the contract's two ways."""

    code: grpc.StatusCode
    reason: str
    """ErrorInfo's reason: upper case, stable, for programs."""
    message: str
    """What is wrong and what to do about it, for people."""
    field: str = ""
    """BadRequest's field, where the input is to blame: for example ``records[3].amount``."""
    retry_after_ms: int = 0
    """RetryInfo's delay; 0 where trying again by itself does not help."""

    @classmethod
    def of(cls, reason: Reason, message: str = "", *, retry_after_ms: int = _RETRY_AFTER_MS) -> "Refusal":
        """Refuse for a reason that lies in the node; `message` replaces the usual words."""
        kind = _KINDS[reason]
        return cls(kind.code, reason, message or kind.message, retry_after_ms=retry_after_ms if kind.retry else 0)

    @classmethod
    def bad_request(cls, reason: str, field: str, message: str) -> "Refusal":
        """Refuse input that breaks the contract (``INVALID_ARGUMENT``) or is not allowed (``PERMISSION_DENIED``)."""
        assert field
        denied = reason in _NOT_PERMITTED
        code = grpc.StatusCode.PERMISSION_DENIED if denied else grpc.StatusCode.INVALID_ARGUMENT
        return cls(code, reason, message, field=field)

    def status(self) -> status_pb2.Status:
        """Give the refusal of a whole call."""
        return status_pb2.Status(code=self._code_number, message=self.message, details=self._details())

    def on_frame(self, frame_id: int) -> bytes:
        """Give the encoded SubmitStreamResponse that refuses one frame: the same status, field for field."""
        error = txqueue_pb2.FrameError(code=self._code_number, message=self.message, details=self._details())
        return txqueue_pb2.SubmitStreamResponse(frame_id=frame_id, error=error).SerializeToString()

    @property
    def _code_number(self) -> int:
        number: int = self.code.value[0]
        return number

    def _details(self) -> list[any_pb2.Any]:
        details: list[Message] = [error_details_pb2.ErrorInfo(reason=self.reason, domain=DOMAIN)]
        if self.field:
            violation = error_details_pb2.BadRequest.FieldViolation(field=self.field, description=self.message)
            details.append(error_details_pb2.BadRequest(field_violations=[violation]))
        if self.retry_after_ms:
            delay = duration_pb2.Duration()
            delay.FromMilliseconds(self.retry_after_ms)
            details.append(error_details_pb2.RetryInfo(retry_delay=delay))
        packed = []
        for detail in details:
            packed.append(any_pb2.Any())
            packed[-1].Pack(detail)
        return packed


async def abort(context: Context, refusal: Refusal) -> NoReturn:
    """End a call with `refusal`; raises what grpc.aio raises to leave a handler."""
    trailers = ((_STATUS_TRAILER, refusal.status().SerializeToString()),)
    await context.abort(refusal.code, refusal.message, trailing_metadata=trailers)
    raise AssertionError("context.abort always raises")
