"""A short attack harms nobody, and what it does is what it says."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from loadtest.attack.phases import PHASES
from loadtest.cli.attack import attack


@pytest.mark.hours  # it finds harm: tracebacks of malformed health checks, and refusals amid floods
def test_ninety_seconds_of_every_attack_harm_nobody(tmp_path: Path) -> None:
    answer = CliRunner().invoke(attack, ["--minutes", "1.5", "--directory", str(tmp_path / "attack"), "--json"])
    figures = json.loads(answer.stdout)
    assert figures["harmless"], json.dumps(figures, indent=2)
    assert answer.exit_code == 0
    assert figures["honest"]["answers"] > 1000
    assert figures["attacks"]["SIGKILL"] > 0
    assert not (tmp_path / "attack").exists(), "nothing is left behind"


def test_a_phase_that_does_not_exist_is_refused_with_those_that_do() -> None:
    answer = CliRunner().invoke(attack, ["--only", "flood"])
    assert answer.exit_code == 2
    assert all(word in answer.output for phase in PHASES for word in phase.name.split())
