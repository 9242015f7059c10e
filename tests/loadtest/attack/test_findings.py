"""Harm is counted where the contract is broken, and only there."""

import time

import pytest

from loadtest.attack.findings import Findings
from penstock.client.errors import OutcomeUnknown, Overloaded, ServerError, Unavailable


def findings(grace_s: float = 0.0) -> Findings:
    return Findings(latency_p99_ms_max=100.0, memory_mib_max=10, grace_s=grace_s)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (KeyError("internals"), "untyped error"),
        (ServerError("what"), "untyped error"),
        (Overloaded("later", reason="QUEUE_FULL"), "refused while nothing was wrong"),
        (OutcomeUnknown(1, 1, 1, "timeout"), "refused while nothing was wrong"),
        (Unavailable("nobody answers"), "refused while nothing was wrong"),
    ],
)
def test_an_error_outside_outages_is_harm(error: Exception, kind: str) -> None:
    found = findings()
    found.failed("submit", error, time.monotonic())
    assert found.harm == {kind: 1}


def test_a_typed_error_in_an_outage_is_none_and_an_untyped_one_is() -> None:
    found = findings(grace_s=60.0)
    with found.outage():
        found.failed("submit", Unavailable("nobody answers"), time.monotonic())
    found.failed("submit", Overloaded("later", reason="QUEUE_FULL"), time.monotonic())
    assert not found.harm
    found.failed("submit", AttributeError("internals"), time.monotonic())
    assert found.harm == {"untyped error": 1}


def test_bounds_that_were_passed_are_harm() -> None:
    found = findings()
    found.sampled_memory(11)
    for _ in range(100):
        found.answered(time.monotonic() - 1.0)
    found.conclude()
    assert found.harm == {"latency p99": 1, "memory": 1}


def test_waiting_in_an_outage_is_no_latency() -> None:
    found = findings(grace_s=60.0)
    with found.outage():
        pass
    found.answered(time.monotonic() - 30.0)
    found.conclude()
    assert not found.harm
    assert found.honest["answers"] == 1
