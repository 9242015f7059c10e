"""Each reason of a node becomes the client's error that says what the caller can do."""

import grpc
import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo

from penstock.client import errors
from penstock.client.transport.error_mapping import IN_DOUBT, PERMANENT, error_of_status
from penstock.contract.reasons import ERROR_DOMAIN, Reason

pytestmark = pytest.mark.usefixtures("each_transport")

ERRORS = {
    "INVALID_ARGUMENT": errors.InvalidRequest,
    "PERMISSION_DENIED": errors.NotPermitted,
    "RESOURCE_EXHAUSTED": errors.Overloaded,
    "NOT_FOUND": errors.OutOfRange,
    "FAILED_PRECONDITION": errors.NotReady,
    "DATA_LOSS": errors.NotReady,
    "UNIMPLEMENTED": errors.NotSupported,
    "INTERNAL": errors.ServerError,
    "UNAVAILABLE": errors.Unavailable,
}


def packed(detail: ErrorInfo | RetryInfo) -> Any:
    box = Any()
    box.Pack(detail)
    return box


@pytest.mark.parametrize("reason", Reason)
def test_a_refusal_is_raised_as_what_it_means(reason: Reason) -> None:
    details = [packed(ErrorInfo(reason=reason.name, domain=ERROR_DOMAIN))]
    if reason.retryable:
        details.append(packed(RetryInfo(retry_delay=Duration(nanos=20_000_000))))
    error = error_of_status(grpc.StatusCode[reason.status].value[0], "refused on purpose", details)

    expected = ERRORS.get(reason.status, errors.BlockGone)
    if reason in (Reason.STATE_FULL, Reason.ANSWER_UNREAD):
        expected = errors.Full
    assert type(error) is expected
    assert (error.reason, str(error)) == (reason.name, "refused on purpose")
    assert isinstance(error, PERMANENT) == (not reason.retryable and reason.outcome_known)
    assert (reason.name in IN_DOUBT) == (not reason.outcome_known)
