"""Errors say what to do, share one root, and cross process boundaries whole."""

import pickle

import pytest

from penstock.client import errors
from penstock.client.results import Result, ResultCode

EXAMPLES = [
    errors.ClientClosed("closed"),
    errors.InvalidOperation("amount is 0"),
    errors.Rejected(Result(ResultCode.OVERFLOW, False, 1, 2)),
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
