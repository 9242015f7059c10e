"""The command ``penstock simulate``."""

import json

from click.testing import CliRunner

from simulation.cli import simulate
from simulation.fault_kind import FaultKind


def test_the_report_says_how_many_schedules_count_and_how_often_each_fault_occurred() -> None:
    result = CliRunner().invoke(simulate, ["--schedules", "12", "--seed", "2100", "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["schedules"], report["violations"], report["failures"]) == (12, 0, [])
    assert report["steps"] > 12 * 1000
    assert set(report["faults"]) == {kind.value for kind in FaultKind}
    assert sum(report["faults"].values()) > 12 * 5


def test_a_replay_of_a_schedule_that_breaks_nothing_says_so() -> None:
    result = CliRunner().invoke(simulate, ["--replay", "2100"])
    assert result.exit_code == 0, result.output
    assert "no promise broken" in result.output
