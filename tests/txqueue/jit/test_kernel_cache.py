"""The cache of machine code knows every file that compiled code comes from, and stands where only its user writes."""

import os
from pathlib import Path

import pytest
from numba import config

from txqueue.jit import kernel_cache

ROOT = Path(__file__).parents[3]
PACKAGES = ("penstock", "services", "replication", "statestore", "pooling", "txqueue", "loadtest", "simulation")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sources as in a checkout, with nothing in them, for a user with a home who chose no directory."""
    for folder in (*kernel_cache._FOLDERS, "penstock/contract"):
        (tmp_path / "sources" / folder).mkdir(parents=True)
    monkeypatch.setattr(config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    return tmp_path / "sources"


def state_of(root: Path) -> str:
    return kernel_cache._state_of(root, root / "penstock" / "contract")


def settle(root: Path) -> Path | None:
    return kernel_cache.settle(root, root / "penstock" / "contract").writable


def closed(folder: Path) -> None:
    """Put a file where the folder would be: not even root can make a directory of it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("")


def test_every_file_with_compiled_code_names_the_caches_directory() -> None:
    known = [kernel_cache._CONTRACT, *(ROOT / folder for folder in kernel_cache._FOLDERS)]
    assert all(folder.is_dir() for folder in known)
    for package in PACKAGES:
        for source in (ROOT / package).rglob("*.py"):
            text = source.read_text()
            compiled = "from numba" in text or "jit.decorators import" in text
            if compiled and source.name != "warmup.py":
                assert any(folder in source.parents for folder in known), source


@pytest.mark.parametrize("changed", ["txqueue/atomics.py", "penstock/contract/limits.py"])
def test_a_change_of_a_source_changes_the_directory(root: Path, changed: str) -> None:
    source = root / changed
    source.write_text("x = 1")
    os.utime(source, (0, 0))
    before = state_of(root)
    (root / "services" / "node.py").write_text("y = 1")
    assert state_of(root) == before
    source.write_text("x = 2")
    os.utime(source, (0, 0))  # as all files of a wheel bear one date
    assert state_of(root) != before


def test_two_installations_of_the_same_sources_have_caches_of_their_own(root: Path) -> None:
    (root / "txqueue" / "queue.py").write_text("x = 1")
    here = state_of(root)
    assert state_of(root.rename(root.with_name("elsewhere"))) != here


def test_the_cache_stands_beside_the_sources(root: Path) -> None:
    cache = settle(root)
    assert cache is not None
    assert cache.parent == root / "txqueue" / "__pycache__"


def test_the_directory_that_numba_is_told_has_a_cache_for_each_state_too(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "chosen"))
    assert settle(root) == tmp_path / "chosen" / f"kernels-{state_of(root)}"


def test_sources_that_cannot_be_written_leave_the_cache_to_the_users_home(root: Path, tmp_path: Path) -> None:
    closed(root / "txqueue" / "__pycache__")
    assert settle(root) == tmp_path / "home" / "penstock" / f"kernels-{state_of(root)}"


def test_a_user_without_a_home_has_the_cache_among_the_temporary_files(root: Path, tmp_path: Path) -> None:
    closed(root / "txqueue" / "__pycache__")
    closed(tmp_path / "home")
    cache = settle(root)
    assert cache is not None
    assert cache.parent == tmp_path / "temporary" / f"penstock-{os.geteuid()}"
    assert not cache.parent.stat().st_mode & 0o077


def test_another_users_directory_is_read_only_where_it_is_roots_or_the_owners_of_the_sources(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, mine = settle(root), os.geteuid()
    assert first is not None
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    readable, writable = kernel_cache.settle(root, root / "penstock" / "contract")
    assert first in readable
    assert writable is None
    if mine == 0:
        os.chown(first, 2, -1)
        assert first not in kernel_cache.settle(root, root / "penstock" / "contract").readable


@pytest.mark.parametrize("mode", [0o775, 0o757])
def test_a_directory_that_others_may_write_is_not_read(root: Path, mode: int) -> None:
    first = settle(root)
    assert first is not None
    first.chmod(mode)
    assert first not in kernel_cache.settle(root, root / "penstock" / "contract").readable


def test_where_nothing_can_be_written_there_is_no_cache_and_no_error(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    closed(root / "txqueue" / "__pycache__")
    closed(tmp_path / "home")

    def nowhere() -> str:
        raise FileNotFoundError("no usable temporary directory found")

    monkeypatch.setattr("tempfile.gettempdir", nowhere)
    assert settle(root) is None


def test_a_cache_that_another_process_forgets_meanwhile_is_no_error(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"kernels-{number}").symlink_to(tmp_path / "gone")
    kernel_cache._forget_old(tmp_path)
