"""The kept machine code of one compiled function: a file for each of its signatures, in numba's place for a cache.

numba's own cache raises where no directory can be written and where a file is damaged, and trusts an index that two
processes may write at once. Here whatever goes wrong costs a compilation and one line in the log, never a start:

- A file's name is a digest of all that its code depends on beside the sources, whose state names the directory: the
  function, its signature, its bytecode and closure, the processor with its features.
- It begins with a digest of its contents. One that is damaged is dropped, and compiled anew.
- It is written under another name and then renamed, so that nobody sees half of it. Whoever comes last wins, with the
  same code.

Unpickling runs whatever a file says, so files are read from directories that nobody else can write.
"""

import contextlib
import hashlib
import logging
import os
import pickle
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from numba.core import sigutils
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

_DIGEST_BYTES: Final = 16

_log: Final = logging.getLogger("penstock.kernels")


class KernelFiles:
    """What numba's dispatcher takes for its cache, see `numba.core.caching._Cache`.

    Args:
        function: the Python function that is compiled.
        readable: directories to look in, in this order.
        writable: the one to keep new code in; None where there is none.
    """

    _is_reported = False
    """Whether this process has said that it keeps nothing; once is enough."""

    def __init__(self, function: Callable[..., Any], readable: Sequence[Path], writable: Path | None) -> None:
        self._function = function
        self._readable = readable
        self._writable = writable

    @property
    def cache_path(self) -> str | None:
        """Where new code is kept."""
        return None if self._writable is None else str(self._writable)

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """Gives the compiled function for a signature; None where it has to be compiled."""
        target_context.refresh()
        name = self._name(signature, target_context.codegen())
        for directory in self._readable:
            path = directory / name
            try:
                content = _read(path)
            except OSError:
                continue
            try:
                if _digest(content[_DIGEST_BYTES:]) != content[:_DIGEST_BYTES]:
                    raise ValueError("its digest is another")  # noqa: TRY301 - as any other damage
                parts = pickle.loads(content[_DIGEST_BYTES:])  # noqa: S301 - as trusted as the sources, see `_read`
                return CompileResult._rebuild(target_context, *parts)
            except Exception as error:
                _log.warning("machine code is compiled anew, as %s is damaged: %s", path, error)
                with contextlib.suppress(OSError):
                    path.unlink()
        return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keeps a compiled function, if that can be done."""
        if compiled.library.has_dynamic_globals or compiled.lifted:
            _log.warning("%s is compiled at every start: it refers to what this process alone has", self._function)
            return
        if self._writable is None:
            self._report(
                "no directory can be written: set NUMBA_CACHE_DIR to one that is this user's, or let root, or the "
                "owner of the installation, start a node once"
            )
            return
        content = dumps(compiled._reduce())
        try:
            _write(self._writable / self._name(signature, compiled.library.codegen), _digest(content) + content)
        except OSError as error:
            self._report(f"{self._writable}: {error.strerror}")

    def enable(self) -> None:
        """Does nothing: it is."""

    def disable(self) -> None:
        """Forgets where files are."""
        self._readable, self._writable = (), None

    def flush(self) -> None:
        """Does nothing: another state of the sources has another directory."""

    def _name(self, signature: Any, codegen: Any) -> str:
        function, code = self._function, self._function.__code__
        closure = tuple(cell.cell_contents for cell in function.__closure__ or ())
        depends_on = (
            (function.__module__, function.__qualname__, code.co_firstlineno),
            str(sigutils.normalize_signature(signature)),
            codegen.magic_tuple(),
            code.co_code.hex(),
            dumps(closure).hex() if closure else "",
        )
        return f"{function.__qualname__.rpartition('.')[2]}-{_digest(repr(depends_on).encode()).hex()}"

    def _report(self, cause: str) -> None:
        if not KernelFiles._is_reported:
            KernelFiles._is_reported = True
            _log.warning("machine code is not kept, so every start compiles for some seconds: %s", cause)


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()


def _read(path: Path) -> bytes:
    """Reads a file that nobody but the directory's owner can have written.

    Raises:
        OSError: there is none, or it is a link or others may write it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        owner = path.parent.lstat().st_uid
        if status.st_uid not in (0, owner, os.geteuid()) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(f"others may have written {path}")
        return file.read()


def _write(path: Path, content: bytes) -> None:
    """Raises OSError, with nothing left behind, where the file cannot be written."""
    unfinished = path.with_name(f".{path.name}-{os.getpid()}-{os.urandom(4).hex()}")
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        unfinished.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise
