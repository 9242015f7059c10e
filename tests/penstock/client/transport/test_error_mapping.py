"""Errors say what to do, share one root, and cross process boundaries whole."""

import pickle

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from penstock.client import errors
from penstock.client.results import Rejected, Result, ResultCode
from penstock.client.transport.error_mapping import STATUS_DETAILS, error_of_call

EXAMPLES = [
    errors.ClientClosed("closed"),
    errors.InvalidOperation("amount is 0"),
    Rejected(Result(ResultCode.OVERFLOW, False, 1, 2)),
    errors.OutcomeUnknown(5, 6, 7, "waited 1 s"),
    errors.Overloaded("full", code=8, reason="QUEUE_FULL", details={"queue": "1"}, retry_delay_s=0.5),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_survives_pickling_with_its_text_and_fields(error: errors.PenstockError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


def test_all_errors_share_one_root() -> None:
    found = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)]
    assert len(found) > 10
    assert all(issubclass(each, errors.PenstockError) for each in found)


def test_an_unknown_outcome_names_the_ids_to_submit_again() -> None:
    assert "sequence 6 of client 5" in str(errors.OutcomeUnknown(5, 6, 1, "waited 1 s"))


def test_reused_sequences_say_what_to_do() -> None:
    assert "give a next_sequence never used" in str(errors.SequenceReused(5, 6))


def failed_call(code: grpc.StatusCode, *trailers: tuple[str, str | bytes]) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailers), details="as it stands")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, errors.Unavailable),
        (grpc.StatusCode.INVALID_ARGUMENT, errors.InvalidRequest),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, errors.Overloaded),
        (grpc.StatusCode.DATA_LOSS, errors.NotReady),
    ],
)
def test_a_call_that_failed_without_details_is_known_by_its_code(
    code: grpc.StatusCode, kind: type[errors.Refused]
) -> None:
    error = error_of_call(failed_call(code, ("other", b"bytes")))
    assert type(error) is kind
    assert (str(error), error.code, error.reason) == ("as it stands", code.value[0], "")


def test_a_call_that_failed_with_details_is_known_by_its_reason() -> None:
    status = status_pb2.Status(code=grpc.StatusCode.OUT_OF_RANGE.value[0], message="gone")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="BLOCK_GONE", metadata={"oldest": "7"}))
    status.details.add().Pack(error_details_pb2.Help())  # a kind of details that this client does not know
    error = error_of_call(failed_call(grpc.StatusCode.OUT_OF_RANGE, (STATUS_DETAILS, status.SerializeToString())))
    assert type(error) is errors.BlockGone
    assert (str(error), error.details) == ("gone", {"oldest": "7"})
