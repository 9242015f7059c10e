"""A run gives the figures of its own tree's programs, or says what went wrong."""

import stat
import sys
from pathlib import Path

import pytest

import loadtest
from loadtest.bench.pair.source_tree import SourceTree, working_tree
from loadtest.bench.pair.tree_run import NodeLoad, RunFailed, numbers, run_command, run_load


@pytest.fixture
def tree(tmp_path: Path) -> SourceTree:
    """A tree with a program ``measure`` that does what a file of the tree says."""
    programs = tmp_path / "bin"
    programs.mkdir()
    measure = programs / "measure"
    measure.write_text('#!/bin/sh\n. ./script "$@"\n')
    measure.chmod(measure.stat().st_mode | stat.S_IXUSR)
    return SourceTree("abc", tmp_path, programs)


def test_a_command_runs_in_its_tree_and_its_numbers_are_named_by_their_path(tree: SourceTree) -> None:
    (tree.directory / "script").write_text('echo "{\\"a\\": {\\"b\\": [1, $2]}, \\"text\\": \\"x\\"}"')
    assert run_command(tree, "measure --count 2.5") == {"a.b.0": 1.0, "a.b.1": 2.5}


@pytest.mark.parametrize(
    ("script", "message"),
    [("echo no json", "must print JSON"), ("echo broken pipe >&2; exit 3", "broken pipe"), ("", "must print JSON")],
)
def test_a_command_that_gives_no_figures_is_an_error_with_its_output(
    tree: SourceTree, script: str, message: str
) -> None:
    (tree.directory / "script").write_text(script)
    with pytest.raises(RunFailed, match=message):
        run_command(tree, "measure")


def test_a_program_that_is_nowhere_is_an_error(tree: SourceTree) -> None:
    with pytest.raises(RunFailed, match="no-such-program"):
        run_command(tree, "no-such-program")


def test_truth_values_and_texts_are_no_figures() -> None:
    assert numbers({"yes": True, "nothing": None, "text": "1", "one": 1}) == {"one": 1.0}
    assert numbers(3) == {"": 3.0}


def test_a_run_of_load_gives_all_figures_of_a_node_of_its_own_and_leaves_nothing(tmp_path: Path) -> None:
    this = working_tree(Path(loadtest.__file__).parent.parent, Path(sys.executable))
    figures = run_load(this, NodeLoad(seconds=0.3, warmup_s=0.0), tmp_path / "node", seed=1, verify=True)
    assert figures.keys() == {"tps", "p50_ms", "p99_ms", "start_s", "node_cpu_ns"}
    assert all(value > 0 for value in figures.values())
    assert not (tmp_path / "node").exists()
