"""Kept machine code is right or not used, and no condition of starting: real files, users and file systems."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest

from tests.models.tools import unmeasured

ROOT: Final = Path(__file__).parents[3]
KERNELS: Final = 3
INNER: Final = "from txqueue.jit.decorators import inner\n\n@inner\ndef number():\n    return {number}\n"
ENTRY: Final = """
@entry(WORDS)
def plus_{n}(words):
    return words[0] + number() + {n}
"""
PROGRAM: Final = """
import json, sys
import llvmlite.binding
if len(sys.argv) > 1:
    llvmlite.binding.get_host_cpu_name = lambda: sys.argv[1]
import numpy as np
from txqueue import asked
from txqueue.jit import decorators, kernel_cache
kernels = [getattr(asked, f"plus_{n}") for n in range(asked.COUNT)]
decorators.load(*kernels)
answers = [int(kernel(np.array([100], np.uint64))) for kernel in kernels]
hits = sum(sum(kernel.stats.cache_hits.values()) for kernel in kernels)
complete = kernel_cache.is_complete()
kernel_cache.mark_complete()
print(json.dumps({"answers": answers, "hits": hits, "complete": complete}))
"""


class Installation:
    """Sources with some kernels in a folder that everybody may read, and no cache."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = sys.executable
        for package in ("penstock/contract", "penstock/host", "txqueue"):
            shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "penstock" / "__init__.py").touch()
        kernels = "".join(ENTRY.format(n=n) for n in range(KERNELS))
        (folder / "txqueue" / "asked.py").write_text(
            f"from txqueue.jit.decorators import WORDS, entry\nfrom txqueue.number import number\nCOUNT = {KERNELS}\n"
            + kernels
        )
        (folder / "program.py").write_text(PROGRAM)
        self.write_number(7)

    def write_number(self, number: int) -> None:
        (self.folder / "txqueue" / "number.py").write_text(INNER.format(number=number))

    def run(self, *arguments: str, wrapper: tuple[str, ...] = (), number: int = 7, **environment: Any) -> Any:
        """Runs the program; returns how many kernels were kept, whether all was, and what was logged."""
        paths = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        environment = (
            {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": f"{self.folder}:{sysconfig.get_path('purelib')}"}
            | paths
            | environment
        )
        ran = subprocess.run(
            [*wrapper, self.python, "-P", str(self.folder / "program.py"), *arguments],
            cwd="/",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        said = json.loads(ran.stdout)
        assert said["answers"] == [100 + number + n for n in range(KERNELS)]
        return said["hits"], said["complete"], ran.stderr.splitlines()

    def files(self, caches: Path | None = None) -> list[Path]:
        """The kept kernels."""
        return sorted((caches or self.folder / "txqueue" / "__pycache__").glob("kernels-*/plus_*"))


@pytest.fixture
def installation() -> Iterator[Installation]:
    with tempfile.TemporaryDirectory(prefix="penstock-installation-") as folder:
        Path(folder).chmod(0o755)
        yield Installation(Path(folder))


def as_nobody(installation: Installation) -> tuple[str, ...]:
    """Runs what follows as another user; the installation gets an interpreter that is the same one for both."""
    wrapper = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
    environment = {**unmeasured(), "PYTHONPATH": sysconfig.get_path("purelib")}
    for python in (sys.executable, f"/usr/bin/python{sysconfig.get_python_version()}"):
        command = [python, "-P", "-c", "import sys, numba; print(sys.version)"]
        said = [
            subprocess.run([*user, *command], cwd="/", env=environment, capture_output=True, text=True, check=False)
            for user in ((), wrapper)
            if shutil.which(python)
        ]
        if said and said[0].stdout == said[-1].stdout != "":
            installation.python = python
            return wrapper
    pytest.skip("needs root, and an interpreter that others may run")


def mounting(*commands: str) -> tuple[str, ...]:
    """Runs what follows where these mounts were made, if this machine allows it."""
    wrapper = ("unshare", "--mount", "sh", "-ec", " && ".join([*commands, 'exec "$@"']), "sh")
    if os.geteuid() or subprocess.run([*wrapper, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount")
    return wrapper


def all_read_only() -> tuple[str, ...]:
    places = {"/", tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm"}
    return mounting(*(f"mount --bind {place} {place} && mount -o remount,bind,ro {place}" for place in sorted(places)))


@pytest.mark.parametrize(
    "place",
    ["NUMBA_CACHE_DIR", *(pytest.param(other, marks=pytest.mark.slow) for other in ("XDG_CACHE_HOME", "beside"))],
)
def test_a_change_in_another_file_is_never_missed(installation: Installation, tmp_path: Path, place: str) -> None:
    environment: dict[str, Any] = {"HOME": str(tmp_path)}
    if place == "XDG_CACHE_HOME":
        (installation.folder / "txqueue" / "__pycache__").write_text("no folder")
    if place != "beside":
        environment[place] = str(tmp_path)
    assert installation.run(**environment) == (0, False, [])
    assert installation.run(**environment) == (KERNELS, True, [])
    installation.write_number(8)
    assert installation.run(number=8, **environment) == (0, False, [])


def test_what_root_has_warmed_is_used_by_a_user_without_a_home(installation: Installation) -> None:
    nobody = as_nobody(installation)
    installation.run()
    assert installation.run(wrapper=nobody) == (KERNELS, True, [])


@pytest.mark.slow
def test_a_user_who_finds_nothing_warmed_keeps_a_cache_of_its_own(installation: Installation, tmp_path: Path) -> None:
    nobody = as_nobody(installation)
    with tempfile.TemporaryDirectory() as temporary:
        Path(temporary).chmod(0o777)
        assert installation.run(wrapper=nobody, TMPDIR=temporary) == (0, False, [])
        assert installation.run(wrapper=nobody, TMPDIR=temporary) == (KERNELS, True, [])
        kept = installation.files(Path(temporary) / "penstock-65534")
        assert len(kept) == KERNELS
        assert installation.run(TMPDIR=temporary) == (0, False, []), "root trusts no cache of nobody's"


def test_where_all_is_read_only_a_warmed_installation_is_used_and_another_one_compiles(
    installation: Installation,
) -> None:
    hits, _, logged = installation.run(wrapper=all_read_only())
    assert hits == 0
    (line,) = logged
    assert "set NUMBA_CACHE_DIR" in line
    installation.run()
    assert installation.run(wrapper=all_read_only()) == (KERNELS, True, [])


@pytest.mark.slow
def test_a_directory_that_cannot_be_made_is_no_reason_to_fail(installation: Installation) -> None:
    installation.run()
    assert installation.run(NUMBA_CACHE_DIR="/proc/nowhere") == (KERNELS, True, [])


def test_damaged_files_are_compiled_anew(installation: Installation) -> None:
    installation.run()
    cut, garbage, changed = installation.files()
    content = changed.read_bytes()
    cut.write_bytes(cut.read_bytes()[: len(content) // 2])
    garbage.write_bytes(b"garbage" * 1000)
    changed.write_bytes(content[:-500] + bytes([content[-500] ^ 1]) + content[-499:])
    hits, _, logged = installation.run()
    assert hits == 0
    assert len(logged) == KERNELS
    assert all("compiled anew" in line for line in logged)
    assert installation.run() == (KERNELS, True, [])


@pytest.mark.slow
def test_a_file_that_others_may_write_is_not_read(installation: Installation) -> None:
    installation.run()
    one, *_ = installation.files()
    one.chmod(0o666)
    assert installation.run()[0] == KERNELS - 1
    assert installation.run()[0] == KERNELS


@pytest.mark.slow
def test_processes_that_start_at_once_without_a_cache_do_not_disturb_each_other(installation: Installation) -> None:
    with ThreadPoolExecutor(3) as executor:
        runs = [executor.submit(installation.run) for _ in range(3)]
    assert all(run.result()[2] == [] for run in runs)
    assert installation.run() == (KERNELS, True, [])
    assert len(installation.files()) == KERNELS


@pytest.mark.slow
def test_another_processor_has_code_of_its_own(installation: Installation) -> None:
    installation.run()
    assert installation.run("x86-64" if os.uname().machine == "x86_64" else "generic") == (0, False, [])
    assert installation.run() == (KERNELS, True, [])


def test_a_full_disk_costs_a_line_and_nothing_else(installation: Installation, tmp_path: Path) -> None:
    wrapper = mounting(f"mount -t tmpfs -o size=16k none {tmp_path}")
    hits, _, logged = installation.run(wrapper=wrapper, NUMBA_CACHE_DIR=str(tmp_path))
    assert hits == 0
    (line,) = logged
    assert "No space left" in line
