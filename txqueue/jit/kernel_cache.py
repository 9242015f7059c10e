"""Where numba keeps machine code: a place that changes with the sources.

numba notices when the file of a cached function changes, but not when a function that it calls, in another file, does:
the machine code of the old one would go on running inside the new. So the cache's directory is named by the state of
all sources of compiled code. Importing this module settles it for the process; `txqueue.jit.decorators` does.
"""

import hashlib
import shutil
from pathlib import Path
from typing import Final

from numba import config

_SOURCES: Final = (
    "penstock/contract",
    "txqueue",
    "pooling/arena",
    "statestore",
    "services/admission",
    "loadtest/bench",
    "loadtest/load",
    "loadtest/verify",
)
"""Folders of compiled code and of the constants in it. A test finds any other file that has some."""
_COMPLETE: Final = "complete"
_KEPT: Final = 3
"""Caches of this many states stay: switching between two branches need not compile each time."""


def settle(root: Path) -> Path | None:
    """Point numba at the cache for the sources under ``root``; returns its directory, None where numba's default holds.

    That is where the directory cannot be written, or where NUMBA_CACHE_DIR has been set.
    """
    if getattr(config, "CACHE_DIR", ""):
        return None
    caches = root / "txqueue" / "__pycache__"
    cache = caches / f"kernels-{_state_of(root)}"
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    cache.touch()
    setattr(config, "CACHE_DIR", str(cache))  # noqa: B010 - numba makes its settings at run time
    _forget_old(caches)
    return cache


def is_complete() -> bool:
    """Whether :func:`mark_complete` was called for these sources: a process that starts now will not compile."""
    return CACHE is None or (CACHE / _COMPLETE).exists()


def mark_complete() -> None:
    """Note that everything a node needs has been compiled."""
    if CACHE is not None:
        (CACHE / _COMPLETE).touch()


def _state_of(root: Path) -> str:
    """Digest the sources' names, sizes and times of change."""
    digest = hashlib.blake2b(digest_size=8)
    for folder in _SOURCES:
        for source in sorted((root / folder).rglob("*.py")):
            stat = source.stat()
            digest.update(f"{source.relative_to(root)} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _forget_old(caches: Path) -> None:
    by_age = sorted(caches.glob("kernels-*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for cache in by_age[_KEPT:]:
        shutil.rmtree(cache, ignore_errors=True)


CACHE: Final = settle(Path(__file__).parents[2])
"""The cache's directory, None where it is numba's own affair."""
