"""Rich gRPC errors: refusals as ``google.rpc.Status`` with ErrorInfo, BadRequest and RetryInfo."""

import asyncio
from typing import Any, Final, NoReturn

import grpc
import grpc.aio
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from penstock.contract.reasons import ERROR_DOMAIN, Reason
from penstock.v1 import txqueue_pb2
from services.refusal import Refusal

Context = grpc.aio.ServicerContext[Any, Any]

_STATUS_TRAILER: Final = "grpc-status-details-bin"
_CODES: Final = {reason: grpc.StatusCode[reason.status] for reason in Reason}


def status_of(refusal: Refusal) -> status_pb2.Status:
    """Give the status of a refused call."""
    code: int = _CODES[refusal.reason].value[0]
    return status_pb2.Status(code=code, message=refusal.message, details=_details(refusal))


def encode_frame_error(frame_id: int, refusal: Refusal) -> bytes:
    """Encode the SubmitStreamResponse that refuses one frame: its error is the status of a call, field for field."""
    status = status_of(refusal)
    error = txqueue_pb2.FrameError(code=status.code, message=status.message, details=status.details)
    return txqueue_pb2.SubmitStreamResponse(frame_id=frame_id, error=error).SerializeToString()


def code_of(refusal: Refusal) -> grpc.StatusCode:
    """Give the status code of a refused call."""
    return _CODES[refusal.reason]


def trailers_of(refusal: Refusal) -> tuple[tuple[str, bytes]]:
    """Give the metadata that a refused call ends with."""
    return ((_STATUS_TRAILER, status_of(refusal).SerializeToString()),)


async def abort(context: Context, refusal: Refusal) -> NoReturn:
    """End a call with `refusal`; raises what grpc.aio raises to leave a handler.

    Raises:
        CancelledError: the client has gone meanwhile, so that there is nobody to tell.
    """
    try:
        await context.abort(code_of(refusal), refusal.message, trailing_metadata=trailers_of(refusal))
    except grpc.aio.InternalError:
        raise asyncio.CancelledError from None
    raise AssertionError("context.abort always raises")


def _details(refusal: Refusal) -> list[any_pb2.Any]:
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=refusal.reason.name, domain=ERROR_DOMAIN)]
    if refusal.field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=refusal.field, description=refusal.message)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if refusal.reason.retryable:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(refusal.retry_after_ms)
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    packed = []
    for detail in details:
        packed.append(any_pb2.Any())
        packed[-1].Pack(detail)
    return packed
