"""The directory in which numba keeps machine code: one for each state of the sources.

numba notices when the file of a cached function changes, but not when a function that it calls, in another file, does:
the machine code of the old one would go on running inside the new. So the cache's directory is named by the state of
all sources of compiled code. Importing this module settles it for the process; `txqueue.jit.decorators` does.
"""

import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numba
from numba import config

import penstock.contract
from txqueue.jit.debug_build import CHECKED

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
_COMPLETE: Final = "complete"
_KEPT: Final = 3
"""Caches of this many states stay: switching between two branches need not compile each time."""


def settle(root: Path, contract: Path) -> Path | None:
    """Point numba at the cache for the sources under ``root`` and ``contract``.

    Returns:
        Its directory, in the first of these that this user can write: the one that NUMBA_CACHE_DIR names, if any; else
        beside the sources, the user's cache, the directory of temporary files. None where there is none.
    """
    state = _state_of(root, contract)
    for caches in _places(root):
        cache = caches / f"kernels-{state}"
        if _is_ours(cache):
            cache.touch()
            setattr(config, "CACHE_DIR", str(cache))  # noqa: B010 - numba makes its settings at run time
            _forget_old(caches)
            return cache
    return None


def is_complete() -> bool:
    """Whether :func:`mark_complete` was called for these sources: a process that starts now will not compile."""
    return CACHE is None or (CACHE / _COMPLETE).exists()


def mark_complete() -> None:
    """Note that everything a node needs has been compiled."""
    if CACHE is not None:
        (CACHE / _COMPLETE).touch()


def _state_of(root: Path, contract: Path) -> str:
    """Digest the sources, where they are, and what compiles them and how.

    Not their times of change: all files of an installed distribution may bear the same one, in every version.
    """
    digest = hashlib.blake2b(f"{numba.__version__} {sys.version} {CHECKED}".encode(), digest_size=8)
    for folder in (contract, *(root / folder for folder in _FOLDERS)):
        for source in sorted(folder.rglob("*.py")):
            content = source.read_bytes()
            digest.update(f"{source} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()


def _places(root: Path) -> Iterator[Path]:
    if chosen := getattr(config, "CACHE_DIR", ""):
        yield Path(chosen)
        return
    yield root / "txqueue" / "__pycache__"
    users = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - Path.home() may raise
    if Path(users).is_absolute():
        yield Path(users) / "penstock"
    with contextlib.suppress(OSError):  # there may be no directory for temporary files
        temporary = Path(tempfile.gettempdir()) / f"penstock-{os.geteuid()}"  # its owner could put another cache there
        if _is_ours(temporary):
            yield temporary


def _is_ours(directory: Path) -> bool:
    """Whether this user owns the directory, which is made where it is missing, and can write it.

    Another user's may hold any machine code.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = directory.lstat().st_uid
    except OSError:
        return False
    return owner == os.geteuid() and os.access(directory, os.W_OK | os.X_OK)


def _forget_old(caches: Path) -> None:
    by_age = sorted(caches.glob("kernels-*"), key=_modified_s, reverse=True)
    for cache in by_age[_KEPT:]:
        shutil.rmtree(cache, ignore_errors=True)


def _modified_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another process has forgotten it just now
        return 0.0


CACHE: Final = settle(_ROOT, _CONTRACT)
"""The cache's directory; None where no directory can be written, and numba has to find one."""
