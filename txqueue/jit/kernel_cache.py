"""The directories in which machine code is kept: one for each state of the sources, wherever that is.

numba notices when the file of a cached function changes, but not when a function that it calls, in another file, does:
the machine code of the old one would go on running inside the new. So a directory is named by the state of all sources
of compiled code, also in a place that the user chose. Importing this module settles them for the process;
`txqueue.jit.decorators` does. Nothing here is a condition of starting: `txqueue.jit.kernel_files` compiles what it
cannot read, and runs what it cannot keep.
"""

import contextlib
import hashlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import llvmlite
import numba
from numba import config
from numba.core.registry import cpu_target

import penstock.contract
from txqueue.jit.debug_build import CHECKED
from txqueue.jit.kernel_files import KernelFiles

_ROOT: Final = Path(__file__).resolve().parents[2]
_CONTRACT: Final = Path(penstock.contract.__file__).resolve().parent
"""Where the client's distribution has it: beside the other folders in a checkout, elsewhere when installed."""
_FOLDERS: Final = (
    "txqueue",
    "pooling/arena",
    "statestore",
    "services/admission",
    "loadtest/bench",
    "loadtest/load",
    "loadtest/verify",
)
"""Folders of compiled code and of the constants in it, besides the contract; a test finds any other such file."""
_NO_MATTER: Final = ("NUMBA_CACHE_DIR", "NUMBA_CACHE_LOCATOR_CLASSES", "NUMBA_NUM_THREADS")
"""Settings of numba that change no machine code; any other may."""
_KEPT: Final = 3
"""Caches of this many states stay: switching between two branches need not compile each time."""


class Places(NamedTuple):
    """The directories for one state of the sources."""

    readable: tuple[Path, ...]
    """Nobody but this user, root and the owner of the sources can have written what is in them."""
    writable: Path | None
    """This user's; None where no directory can be written."""


def settle(root: Path, contract: Path) -> Places:
    """Find the directories for the sources under ``root`` and ``contract``.

    These are looked at in turn: the one that NUMBA_CACHE_DIR names, if any; beside the sources; the user's cache; the
    directory of temporary files. All that can be trusted are read, so that a user without rights has what another one
    has warmed; the first that can be written is.
    """
    name = f"kernels-{_state_of(root, contract)}"
    trusted = (0, os.geteuid(), root.stat().st_uid)
    readable, writable = [], None
    for caches in _places(root):
        # Among the temporary files nothing is made unless it is needed, and its owner could put another cache there.
        if caches.parent == _temporary() and (
            (writable is not None and not caches.exists()) or not _is_ours(caches, mode=0o700)
        ):
            continue
        cache = caches / name
        if writable is None and _is_ours(cache):
            with contextlib.suppress(OSError):
                cache.touch()
                _forget_old(caches)
            writable = cache
        if _is_trusted(cache, trusted):
            readable.append(cache)
    return Places(tuple(readable), writable)


def keep(dispatcher: Any) -> Any:
    """Let a compiled function, which numba calls a dispatcher, keep its machine code; returns it."""
    dispatcher._cache = KernelFiles(dispatcher.py_func, PLACES.readable, PLACES.writable)
    return dispatcher


def is_complete() -> bool:
    """Whether a process that starts now has nothing to compile that could be kept."""
    mark = _mark()
    return PLACES.writable is None or any((place / mark).exists() for place in PLACES.readable)


def mark_complete() -> None:
    """Note that everything a node needs on this kind of processor has been compiled, if that can be kept."""
    if PLACES.writable is not None:
        with contextlib.suppress(OSError):
            (PLACES.writable / _mark()).touch()


def _mark() -> str:
    processor = repr(cpu_target.target_context.codegen().magic_tuple())
    return f"complete-{hashlib.blake2b(processor.encode(), digest_size=8).hexdigest()}"


def _state_of(root: Path, contract: Path) -> str:
    """Digest the sources, where they are, and what compiles them and how; the processor is each file's affair.

    Not their times of change: all files of an installed distribution may bear the same one, in every version.
    """
    settings = sorted(item for item in os.environ.items() if item[0].startswith("NUMBA_") and item[0] not in _NO_MATTER)
    compiler = f"{numba.__version__} {llvmlite.__version__} {sys.version} {settings} {CHECKED}"
    digest = hashlib.blake2b(compiler.encode(), digest_size=8)
    for folder in (contract, *(root / folder for folder in _FOLDERS)):
        for source in sorted(folder.rglob("*.py")):
            content = source.read_bytes()
            digest.update(f"{source} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()


def _places(root: Path) -> Iterator[Path]:
    if chosen := getattr(config, "CACHE_DIR", ""):
        yield Path(chosen).absolute()
    yield root / "txqueue" / "__pycache__"
    users = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - Path.home() may raise
    if Path(users).is_absolute():
        yield Path(users) / "penstock"
    if (temporary := _temporary()) is not None:
        yield temporary / f"penstock-{os.geteuid()}"


def _temporary() -> Path | None:
    try:
        return Path(tempfile.gettempdir())
    except OSError:
        return None


def _is_ours(directory: Path, mode: int = 0o755) -> bool:
    """Whether this user owns the directory, which is made where it is missing, and can write it."""
    try:
        directory.mkdir(mode=mode, parents=True, exist_ok=True)
        owner = directory.lstat().st_uid
    except OSError:
        return False
    return owner == os.geteuid() and os.access(directory, os.W_OK | os.X_OK)


def _is_trusted(directory: Path, owners: tuple[int, ...]) -> bool:
    """Whether nobody but one of these can have written what is in the directory."""
    try:
        status = directory.lstat()
    except OSError:
        return False
    closed = not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(status.st_mode) and closed and status.st_uid in owners


def _forget_old(caches: Path) -> None:
    by_age = sorted(caches.glob("kernels-*"), key=_modified_s, reverse=True)
    for cache in by_age[_KEPT:]:
        shutil.rmtree(cache, ignore_errors=True)


def _modified_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another process has forgotten it just now
        return 0.0


PLACES: Final = settle(_ROOT, _CONTRACT)
