"""The commands refuse what they cannot do before they start anything, and write what they measured."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from loadtest.cli.demo import demo
from loadtest.cli.load import load
from loadtest.node.node_process import running_node


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--rate", "10", "--closed"], "exclude each other"),
        (["--rate", "0"], "--rate must be above 0"),
        (["--distribution", "normal"], "zipf:EXPONENT"),
        (["--mix", "transfers=1"], "it knows append, put"),
        (["--in-flight", "20"], "more --workers"),
        (["--target", "http://localhost"], "write localhost:50051"),
        (["--target", "unix:/nobody/here.sock"], "start one with `penstock dev"),
    ],
)
def test_what_cannot_be_run_is_refused_with_a_way_out(arguments: list[str], hint: str) -> None:
    answer = CliRunner().invoke(load, arguments)
    assert answer.exit_code != 0
    assert hint in " ".join(answer.output.split())


def test_the_demo_commits_verifies_and_writes_its_figures(tmp_path: Path) -> None:
    out = tmp_path / "figures" / "demo.json"
    answer = CliRunner().invoke(demo, ["--seconds", "0.3", "--accounts", "3000", "--out", str(out)])
    assert answer.exit_code == 0, answer.output
    figures = json.loads(out.read_text())
    assert figures["verified"]
    assert figures["tps"] == pytest.approx(figures["committed"] / figures["seconds"], rel=0.01)
    assert figures["share"] == pytest.approx(figures["tps"] / figures["noop_tps"], rel=0.01)
    assert {"p50", "p99", "p999", "max"} <= figures["latency_ms"].keys()
    assert {"cores", "cpu", "versions", "seed", "commit"} <= figures["conditions"].keys()
    assert (figures["replicas"], figures["durability"]) == (1, "block")
    assert [path.name for path in out.parent.iterdir()] == ["demo.json"], "the node's log is gone"


@pytest.mark.parametrize("place", ["node", "node/log"])
def test_a_load_on_a_running_node_is_verified_and_writes_its_figures(place: str, tmp_path: Path) -> None:
    out = tmp_path / "load.json"
    with running_node(tmp_path / "node") as node:
        options = ["--target", node.target, "--seconds", "0.3", "--warmup", "0.1", "--accounts", "2000"]
        answer = CliRunner().invoke(load, [*options, "--json", str(out), "--verify", str(tmp_path / place)])
    assert answer.exit_code == 0, answer.output
    assert "verification: verified" in answer.output
    figures = json.loads(out.read_text())
    assert figures["verification"]["verified"]
    assert figures["committed"] > 0


def test_a_load_prints_its_figures_for_programs_and_nothing_besides(tmp_path: Path) -> None:
    with running_node(tmp_path / "node") as node:
        options = ["--target", node.target, "--seconds", "0.3", "--warmup", "0.1", "--accounts", "2000"]
        answer = CliRunner().invoke(load, [*options, "--json"])
    assert answer.exit_code == 0, answer.output
    figures = json.loads(answer.stdout)
    assert figures["committed"] > 0, figures


def test_a_directory_that_holds_no_log_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    answer = CliRunner().invoke(load, ["--target", "unix:/nobody/here.sock", "--verify", str(tmp_path)])
    assert answer.exit_code == 2, answer.output
    assert "neither a node's data directory nor the log in it" in " ".join(answer.output.replace("│", " ").split())


def test_a_load_whose_log_does_not_hold_it_fails(tmp_path: Path) -> None:
    with running_node(tmp_path / "another") as another, running_node(tmp_path / "node") as node:
        options = ["--target", node.target, "--seconds", "0.1", "--warmup", "0", "--accounts", "100", "--frame", "100"]
        answer = CliRunner().invoke(load, [*options, "--verify", str(another.data_dir)])
    assert answer.exit_code == 1, answer.output
    assert "NOT verified" in answer.output
    assert "acknowledged and lost" in " ".join(answer.output.replace("│", " ").split())
