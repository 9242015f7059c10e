"""The benchmarks that start a node of their own print their figures, and leave nothing behind."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from loadtest.bench.restart import measure_restart
from loadtest.cli.bench import bench


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def figures_of(*command: str) -> dict[str, Any]:
    answer = CliRunner().invoke(bench, command, catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    figures: dict[str, Any] = json.loads(answer.stdout)
    return figures


def test_single_transactions_of_many_coroutines_are_counted_and_timed(directory: Path) -> None:
    figures = figures_of("single", "--coroutines", "20", "--seconds", "0.3")
    assert figures["committed"] > 20
    assert figures["tps"] == pytest.approx(figures["committed"] / 0.3, rel=0.01)
    assert 0 < figures["latency_ms"]["p50"] <= figures["latency_ms"]["max"]
    assert list((directory / "build").iterdir()) == []


def test_lone_transactions_are_timed_one_by_one(directory: Path) -> None:
    figures = figures_of("lone", "--count", "5")
    assert figures["transactions"] == 5
    assert 0 < figures["latency_ms"]["p50"] <= figures["latency_ms"]["max"]


def test_an_open_loop_offers_the_rate_that_was_asked_for(directory: Path) -> None:
    figures = figures_of("open-loop", "--rate", "20000", "--seconds", "0.5")
    assert figures["rate"] == 20_000
    assert figures["attempted_tps"] == pytest.approx(20_000, rel=0.2)


def test_the_grpc_baseline_is_measured_in_as_many_rounds_as_asked_for(directory: Path) -> None:
    figures = figures_of("grpc", "--seconds", "0.2", "--frame", "100", "--rounds", "1")
    assert len(figures["noop_tps"]) == 1
    assert min(figures["noop_tps"]) > 0


def test_a_restart_is_timed_on_an_empty_log_and_on_one_that_holds_what_was_asked_for(directory: Path) -> None:
    figures = measure_restart(directory, transactions=500_000, rounds=1)
    assert figures["transactions"] >= 500_000
    assert len(figures["empty_s"]) == len(figures["full_s"]) == 1
    assert min(figures["empty_s"] + figures["full_s"]) > 0
