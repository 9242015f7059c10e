"""A refusal says what is wrong and what to do, in its own words or in its reason's."""

import pytest

from penstock.contract.reasons import Reason
from services.refusal import Refusal


@pytest.mark.parametrize("reason", Reason)
def test_without_a_detail_the_reason_speaks(reason: Reason) -> None:
    message = Refusal(reason).message
    assert reason.meaning in message
    assert reason.action in message


def test_a_detail_speaks_for_itself() -> None:
    assert Refusal(Reason.LOG_FULL, "no room in /data").message == "no room in /data"


def test_refusals_are_values() -> None:
    assert Refusal(Reason.QUEUE_FULL, field="a") == Refusal(Reason.QUEUE_FULL, field="a")
    assert Refusal(Reason.QUEUE_FULL) != Refusal(Reason.QUEUE_FULL, retry_after_ms=5)
