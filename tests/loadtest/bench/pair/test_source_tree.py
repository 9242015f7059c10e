"""A commit's tree is what the commit says, is installed once, and takes nothing from the caller's environment."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest.bench.pair.source_tree import SourceTree, TreeFailed, repository_of, tree_of_commit, working_tree

PYTHON = Path("/no/uv/here/python3")
GIT = ("git", "-c", "user.name=nobody", "-c", "user.email=nobody@localhost")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    directory = tmp_path / "repository"
    directory.mkdir()
    (directory / "file").write_text("committed")
    for command in (("init", "--quiet"), ("add", "file"), ("commit", "--quiet", "-m", "A file")):
        subprocess.run([*GIT, *command], cwd=directory, check=True)
    (directory / "file").write_text("changed since")
    return directory


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a stand-in for uv, first on PATH, notes how it was called."""
    calls, programs = tmp_path / "calls", tmp_path / "bin"
    programs.mkdir()
    uv = programs / "uv"
    uv.write_text(f'#!/bin/sh\necho "$PWD $1 $2 [$PENSTOCK_LOG_SYNC_MODE]" >> {calls}\n')
    uv.chmod(uv.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("PENSTOCK_LOG_SYNC_MODE", "none")
    return calls


def test_a_commits_tree_has_the_commits_files_and_is_installed_from_its_lock_file_once(
    repository: Path, installed: Path, tmp_path: Path
) -> None:
    first = tree_of_commit(repository, "HEAD", tmp_path / "trees", PYTHON)
    again = tree_of_commit(repository, "HEAD", tmp_path / "trees", PYTHON)
    assert first == again
    assert (first.directory / "file").read_text() == "committed"
    assert first.programs == first.directory / ".venv" / "bin"
    assert installed.read_text().splitlines() == [f"{first.directory} sync --frozen []"]


def test_a_tree_whose_installation_was_interrupted_is_made_anew(
    repository: Path, installed: Path, tmp_path: Path
) -> None:
    tree = tree_of_commit(repository, "HEAD", tmp_path / "trees", PYTHON)
    (tree.directory / ".ready").unlink()
    (tree.directory / "file").unlink()
    tree_of_commit(repository, "HEAD", tmp_path / "trees", PYTHON)
    assert (tree.directory / "file").read_text() == "committed"
    assert len(installed.read_text().splitlines()) == 2


def test_the_working_tree_is_marked_where_files_differ_from_the_commit(repository: Path) -> None:
    head = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], cwd=repository, check=True, capture_output=True, text=True
    ).stdout.strip()
    tree = working_tree(repository, Path(sys.executable))
    assert (tree.commit, tree.directory) == (f"{head}+", repository)
    assert (tree.programs / "python").exists()


def test_what_git_does_not_know_is_refused(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(TreeFailed, match="rev-parse"):
        tree_of_commit(repository, "no-such-revision", tmp_path / "trees", PYTHON)
    with pytest.raises(TreeFailed, match="not a git repository"):
        repository_of(tmp_path)
    assert repository_of(repository) == repository


def test_a_commit_without_a_uv_to_install_it_is_refused_with_a_way_out(
    repository: Path, tmp_path: Path, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (installed.parent / "bin" / "uv").unlink()
    with pytest.raises(TreeFailed, match="make setup"):
        tree_of_commit(repository, "HEAD", tmp_path / "trees", PYTHON)


def test_a_trees_commands_find_its_own_programs_and_none_of_the_callers_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("PENSTOCK_CONFIG", "PYTHONPATH", "VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT"):
        monkeypatch.setenv(name, "the caller's")
    monkeypatch.setenv("UV_CACHE_DIR", "kept")
    environment = SourceTree("abc", tmp_path, tmp_path / "bin").environment()
    assert environment["PATH"].startswith(f"{tmp_path / 'bin'}:")
    assert environment["UV_CACHE_DIR"] == "kept"
    assert "the caller's" not in environment.values()
