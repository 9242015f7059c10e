"""Source trees to be measured: the working tree, or a commit's files with an environment from its lock file."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_READY: Final = ".ready"


class TreeFailed(Exception):
    """A source tree could not be prepared; the message says which command failed, and how."""


@dataclass(frozen=True, slots=True)
class SourceTree:
    """A directory of sources and the programs of its environment."""

    commit: str
    directory: Path
    programs: Path

    def environment(self) -> dict[str, str]:
        """Variables for a command that shall use this tree, and nothing of the caller's own environment."""
        left_out = ("PENSTOCK_", "PYTHON", "VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
        return kept | {"PATH": f"{self.programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}


def working_tree(repository: Path, python: Path) -> SourceTree:
    """The files as they are, with the environment of this interpreter; the commit has a "+" where files differ."""
    commit = _output("git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*", directory=repository)
    return SourceTree(commit, repository, python.parent)


def tree_of_commit(repository: Path, revision: str, directory: Path, python: Path) -> SourceTree:
    """The files of a commit under ``directory``, with an environment from its lock file; kept for the next time.

    The environment has this interpreter's Python, and is installed by the ``uv`` beside it, or the one on PATH.

    Raises:
        TreeFailed: git does not know the revision, or its environment cannot be installed.
    """
    commit = _output("git", "rev-parse", "--verify", "--short=12", f"{revision}^{{commit}}", directory=repository)
    tree = SourceTree(commit, directory / commit, directory / commit / ".venv" / "bin")
    if not (tree.directory / _READY).exists():
        shutil.rmtree(tree.directory, ignore_errors=True)
        tree.directory.mkdir(parents=True)
        archive = tree.directory / "tree.tar"
        _output("git", "archive", "--output", str(archive), commit, directory=repository)
        _output("tar", "--extract", "--file", str(archive), directory=tree.directory)
        archive.unlink()
        _output(
            _uv(python), "sync", "--frozen", "--quiet", "--python", str(python), directory=tree.directory, tree=tree
        )
        (tree.directory / _READY).touch()
    return tree


def repository_of(directory: Path) -> Path:
    """The top of the checkout that has this directory.

    Raises:
        TreeFailed: it is in none.
    """
    return Path(_output("git", "rev-parse", "--show-toplevel", directory=directory))


def _uv(python: Path) -> str:
    beside_python = python.parent / "uv"
    found = str(beside_python) if beside_python.exists() else shutil.which("uv")
    if found is None:
        raise TreeFailed("uv is needed to install a commit's environment: `make setup` installs it")
    return found


def _output(*command: str, directory: Path, tree: SourceTree | None = None) -> str:
    environment = tree.environment() if tree else None
    try:
        done = subprocess.run(
            command, cwd=directory, env=environment, capture_output=True, text=True, timeout=600, check=True
        )
    except subprocess.CalledProcessError as error:
        raise TreeFailed(f"`{' '.join(command)}` failed: {error.stderr.strip()}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TreeFailed(f"`{' '.join(command)}` failed: {error}") from None
    return done.stdout.strip()
