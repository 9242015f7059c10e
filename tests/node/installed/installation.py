"""An installation: wheels in a clean environment of one Python, outside the checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[3]
UV: Final = str(Path(sys.executable).with_name("uv"))
CLIENT: Final = tomllib.loads((ROOT / "penstock" / "pyproject.toml").read_text())["project"]
SERVER: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SERVER_FOLDERS: Final = ("services", "replication", "statestore", "pooling", "txqueue", "loadtest", "simulation")
REQUIRED_IN_CI: Final = "3.11"


def run_uv(*arguments: str) -> str:
    """Run uv as it was set up, but not on this project's environment; returns what it printed."""
    environment = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    done = subprocess.run([UV, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def find_python(version: str) -> str:
    """An interpreter of ``version``, as in "3.12". The test is skipped where there is none; in CI one must be there."""
    if sysconfig.get_python_version() == version:
        return sys.executable
    named = f"python{version}"
    versions = Path.home() / ".pyenv" / "versions"
    for candidate in (shutil.which(named), *map(str, sorted(versions.glob(f"{version}.*/bin/{named}")))):
        # pyenv has a file of that name on PATH which may only say that no such version is chosen.
        if candidate and subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0:
            return candidate
    reason = f"nothing was checked with Python {version}: no {named} on PATH or in {versions}"
    if os.environ.get("CI") == "true" and version == REQUIRED_IN_CI:
        pytest.fail(reason)
    pytest.skip(reason)


class Installation:
    """An environment in ``folder`` into which ``wheels`` were installed, together with what they depend on."""

    def __init__(self, folder: Path, python: str, wheels: Sequence[Path], *, constraints: Path) -> None:
        run_uv("venv", "--quiet", "--python", python, str(folder))
        self.python = folder / "bin" / "python"
        install = ("pip", "install", "--quiet", "--python", str(self.python), "--constraint", str(constraints))
        run_uv(*install, *map(str, wheels))
        self.command = folder / "bin" / "penstock"
        self.site_packages = next((folder / "lib").glob("python*/site-packages"))

    def start(self, directory: Path, *command: str | Path, **environment: str) -> "subprocess.Popen[str]":
        """Start a command in ``directory``, with next to nothing in its environment."""
        home = {"HOME": str(directory.parent), "PATH": "/usr/bin:/bin"}
        return subprocess.Popen(
            list(map(str, command)),
            cwd=directory,
            env=home | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, directory: Path, *command: str | Path, **environment: str) -> str:
        """Run a command to its end, which must be a good one; returns what it printed."""
        with self.start(directory, *command, **environment) as process:
            output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output
        return output
