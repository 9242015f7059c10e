"""Mapping of gRPC's rich errors (status code, ErrorInfo, BadRequest, RetryInfo) to the client's errors."""

from collections.abc import Iterable
from typing import Final

import grpc
from google.protobuf.any_pb2 import Any
from google.rpc import error_details_pb2, status_pb2

from penstock.client import errors
from penstock.contract.reasons import Reason
from penstock.v1.txqueue_pb2 import FrameError

STATUS_DETAILS: Final = "grpc-status-details-bin"

ERROR_OF_CODE: Final[dict[int, type[errors.Refused]]] = {
    code.value[0]: error
    for code, error in {
        grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidRequest,
        grpc.StatusCode.OUT_OF_RANGE: errors.OutOfRange,
        grpc.StatusCode.NOT_FOUND: errors.OutOfRange,
        grpc.StatusCode.PERMISSION_DENIED: errors.NotPermitted,
        grpc.StatusCode.UNAUTHENTICATED: errors.NotPermitted,
        grpc.StatusCode.UNIMPLEMENTED: errors.NotSupported,
        grpc.StatusCode.FAILED_PRECONDITION: errors.NotReady,
        grpc.StatusCode.DATA_LOSS: errors.NotReady,
        grpc.StatusCode.RESOURCE_EXHAUSTED: errors.Overloaded,
        grpc.StatusCode.ABORTED: errors.Overloaded,
        grpc.StatusCode.UNAVAILABLE: errors.Unavailable,
        grpc.StatusCode.DEADLINE_EXCEEDED: errors.Unavailable,
    }.items()
}

ERROR_OF_REASON: Final[dict[str, type[errors.Refused]]] = {Reason.BLOCK_GONE.name: errors.BlockGone}
"""Reasons with an error class of their own, whatever their code."""

PERMANENT: Final = (errors.InvalidRequest, errors.NotPermitted, errors.NotSupported, errors.NotReady, errors.Full)
"""Refusals that a retry would meet again."""

IN_DOUBT: Final = frozenset(reason.name for reason in Reason if not reason.outcome_known)
"""Reasons of refusals after which the frame may still be in the log."""


def error_of_status(code: int, message: str, details: Iterable[Any] = ()) -> errors.Refused:
    """The error for a google.rpc.Status given by its fields."""
    reason, metadata, delay_s = "", {}, None
    violations: list[tuple[str, str]] = []
    for detail in details:
        info, retry, bad = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info):
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(retry):
            delay_s = retry.retry_delay.ToMicroseconds() / 1e6
        elif detail.Unpack(bad):
            violations += [(each.field, each.description) for each in bad.field_violations]
    kind = ERROR_OF_REASON.get(reason) or ERROR_OF_CODE.get(code, errors.ServerError)
    if kind is errors.Overloaded and reason and delay_s is None:
        kind = errors.Full
    error = kind(message, code=code, reason=reason, details=metadata, retry_delay_s=delay_s)
    if isinstance(error, errors.InvalidRequest):
        error.violations = tuple(violations)
    return error


def error_of_frame(error: FrameError) -> errors.Refused:
    """The error that came in place of a receipt."""
    return error_of_status(error.code, error.message, error.details)


def error_of_call(error: grpc.aio.AioRpcError) -> errors.Refused:
    """The error of a failed call, with its rich status where the node sent one."""
    for key, value in error.trailing_metadata() or ():
        if key == STATUS_DETAILS and isinstance(value, bytes):
            status = status_pb2.Status.FromString(value)
            return error_of_status(status.code, status.message, status.details)
    return error_of_status(error.code().value[0], error.details() or error.code().name)
