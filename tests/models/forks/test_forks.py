"""Children that are forked at any moment harm neither their parent nor each other: what the stress of forks shows."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.models.tools import unmeasured

ROOT: Final = Path(__file__).parents[3]


def stress(folder: Path, seed: int, forks: int) -> subprocess.CompletedProcess[str]:
    """Runs it on the sources in a folder; the time limit is its own."""
    return subprocess.run(
        [sys.executable, "-m", "tests.models.forks.stress", str(seed), str(forks)],
        cwd=folder,
        env={**unmeasured(), "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_forks_amid_enqueuing_and_lending_lose_nothing() -> None:
    ran = stress(ROOT, 7, 30)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_hundreds_of_forks_lose_nothing(seed: int) -> None:
    ran = stress(ROOT, seed, 300)
    assert ran.returncode == 0, ran.stdout + ran.stderr


class Broken(NamedTuple):
    """A rule of a file, and what to write instead."""

    file: str
    rule: str
    instead: str


VARIANTS: Final = {
    "a child returns its parent's slots": Broken(
        "pooling/arena/slot.py",
        "if self._array is None or self._fork_generation != fork.generation():",
        "if self._array is None:",
    ),
    "a child never learns of its fork": Broken(
        "txqueue/region/fork.py",
        "if not _page[0] if _page is not None else os.getpid() != _process_id:\n        _become_child()\n    return",
        "return",
    ),
    "a child's pool lends what its parent has": Broken(
        "pooling/core/pool_core.py", "if self._generation == fork.generation():\n            return", "return"
    ),
    "a child's parent's connections are finalized": Broken(
        "pooling/core/lifecycle.py", "ctypes.pythonapi.Py_IncRef(ctypes.py_object(pooled.item))", "pass"
    ),
    "nobody waits for what another thread compiles or imports": Broken(
        "txqueue/jit/decorators.py",
        "os.register_at_fork(before=_finish_compiling, after_in_parent=_go_on_compiling, "
        "after_in_child=_go_on_compiling)",
        "",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_it_is_found_when(tmp_path: Path, name: str) -> None:
    broken = VARIANTS[name]
    for package in ("penstock/contract", "penstock/host", "pooling", "txqueue", "tests"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "penstock" / "__init__.py").touch()
    source = tmp_path / broken.file
    text = source.read_text()
    assert text.count(broken.rule) == 1, "the rule stands there, to be broken"
    source.write_text(text.replace(broken.rule, broken.instead))
    for seed in range(4):
        if stress(tmp_path, seed, 150).returncode:
            return
    pytest.fail("four runs went well")
