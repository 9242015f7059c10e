"""Many schedules."""

import pytest

from simulation.campaign import run_campaign
from simulation.fault_kind import FaultKind


@pytest.mark.slow
def test_a_thousand_schedules_break_no_promise() -> None:
    report = run_campaign(1000, seed=10_000)
    assert [(outcome.seed, outcome.violation) for outcome in report.failures] == []
    assert report.schedules >= 1000
    assert all(report.faults[kind] >= 20 for kind in FaultKind)
