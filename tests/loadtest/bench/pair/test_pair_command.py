"""The command compares two commits by any command of theirs, and its exit code is the verdict."""

import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from loadtest.cli.bench_pair import pair

GIT = ("git", "-c", "user.name=nobody", "-c", "user.email=nobody@localhost")
PROJECT = '[project]\nname = "figures"\nversion = "0"\nrequires-python = ">=3.11"\n'
LOCK = """version = 1
requires-python = ">=3.11"

[[package]]
name = "figures"
version = "0"
source = { virtual = "." }
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Has printed 2 ms in its only commit, and 1 ms since."""
    monkeypatch.chdir(tmp_path)
    files = {
        "pyproject.toml": PROJECT,
        "uv.lock": LOCK,
        "figures.json": '{"run": {"ms": 2.0}}',
        ".gitignore": "build\n",
    }
    for name, text in files.items():
        Path(name).write_text(text)
    for command in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "-m", "Figures")):
        subprocess.run([*GIT, *command], check=True)
    Path("figures.json").write_text('{"run": {"ms": 1.0}}')
    return tmp_path


def compared(*options: str) -> Result:
    command = ["--base", "HEAD", "--command", "cat figures.json", "--metric", "run.ms", "--lower-is-better"]
    return CliRunner().invoke(pair, [*command, "--pairs", "5", *options])


def test_a_difference_is_measured_between_a_commit_and_the_working_tree(checkout: Path) -> None:
    answer = compared()
    assert answer.exit_code == 0, answer.output
    assert "pair 5 of 5: run.ms 2 before, 1 after, ratio 2.000; median 2.000" in answer.output
    report = json.loads((checkout / "build" / "bench-pair.json").read_text())
    assert (report["above_floor"], report["pairs"]) == (True, 5)
    assert report["figures"]["run.ms"]["ratios"] == [2.0] * 5
    assert report["conditions"]["commit"] == report["conditions"]["base"] + "+"


def test_a_ratio_that_is_not_above_the_floor_fails_with_1(checkout: Path) -> None:
    answer = compared("--floor", "2.5", "--out", str(checkout / "elsewhere" / "pair.json"))
    assert answer.exit_code == 1, answer.output
    assert "does NOT lie above 2.5" in answer.output
    assert not json.loads((checkout / "elsewhere" / "pair.json").read_text())["above_floor"]


def test_the_same_commit_twice_shows_no_difference(checkout: Path) -> None:
    answer = compared("--head", "HEAD", "--floor", "0.99")
    assert answer.exit_code == 0, answer.output
    assert "1.000 to 1.000" in answer.output


def test_what_cannot_be_measured_fails_with_2(checkout: Path) -> None:
    for options in (["--metric", "run.seconds"], ["--base", "no-such-commit"], ["--command", "false"]):
        answer = compared(*options)
        assert answer.exit_code == 2, answer.output
    assert CliRunner().invoke(pair, ["--base", "HEAD", "--metric", "run.ms"]).exit_code == 2, (
        "a load has no such figure"
    )
