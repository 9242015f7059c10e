"""Decorators that compile the path of a transaction: kernels, their inner functions, and entries that Python calls."""

import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit, types
from numba.core.compiler_lock import global_compiler_lock

from txqueue.jit.kernel_cache import keep

Function = TypeVar("Function", bound=Callable[..., Any])

_compile: Any = njit  # typed without the options used here
_loading = threading.RLock()
"""An entry is compiled by one thread, and closed to other types before another one looks."""


def kernel(function: Function) -> Function:
    """Decorates a function of the hot path: it releases the GIL, and its machine code is kept on disk.

    It may not allocate (no ``np.empty``, no arrays returned): numba's reference counts are left out. They are two
    locked instructions for each array and call, more than a whole claim costs; callers hold the arrays anyway.
    """
    compiled: Function = keep(_compile(nogil=True, _nrt=False)(function))
    return compiled


def inner(function: Function) -> Function:
    """Decorates a function that only compiled code calls.

    It has no wrappers for Python and no file in the cache: its code is part of its callers'. That saves a fifth of the
    time that a first start spends compiling. What :func:`kernel` says about allocation holds here, too.
    """
    compiled: Function = _compile(nogil=True, _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)
    return compiled


WORDS = types.Array(types.uint64, 1, "C")
"""A region, or any other words that compiled code writes to."""
ROWS = types.Array(types.uint64, 2, "C")
BYTES = types.Array(types.uint8, 1, "C")
ROWS_IN = types.Array(types.uint64, 2, "C", readonly=True)
"""Rows that are only read: arguments may be read-only or not, and are the same machine code."""
BYTES_IN = types.Array(types.uint8, 1, "C", readonly=True)


def entry(*arguments: Any) -> Callable[[Function], Function]:
    """As :func:`kernel`, for a function that Python calls: for exactly these types, once it was loaded.

    Importing it costs nothing; whoever is going to call it passes it to :func:`load` first.
    """

    def decorate(function: Function) -> Function:
        compiled: Any = kernel(function)
        compiled.arguments = arguments
        typed: Function = compiled
        return typed

    return decorate


def operation(integers: int) -> Callable[[Function], Function]:
    """Decorates a function of a region's words and so many int64, for Python and for compiled code anywhere.

    It becomes part of the code that calls it, for functions that are cheaper than a call. As with :func:`entry`,
    whoever calls it from Python loads it first.
    """

    def decorate(function: Function) -> Function:
        compiled: Any = keep(_compile(nogil=True, _nrt=False, forceinline=True)(function))
        compiled.arguments = (WORDS, *(types.int64,) * integers)
        typed: Function = compiled
        return typed

    return decorate


def eager(signature: str, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorates a function that is compiled for one signature as soon as it is defined, and may allocate.

    ``options`` are numba's. It is for the checks and loads beside the path, which are called as soon as they are
    imported.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        compiled = keep(_compile(nogil=True, **options)(function))
        with _loading:
            compiled.compile(signature)
            compiled.disable_compile()
        return compiled

    return decorate


def _finish_compiling() -> None:
    """Lets nothing be half compiled in a child that is forked next, and leaves it no lock that nobody opens."""
    _loading.acquire()
    global_compiler_lock.acquire()


def _go_on_compiling() -> None:
    global_compiler_lock.release()
    _loading.release()


os.register_at_fork(before=_finish_compiling, after_in_parent=_go_on_compiling, after_in_child=_go_on_compiling)


def load(*entries: Any) -> None:
    """Gets the machine code of entries from the cache, or compiles them.

    From then on other arguments raise TypeError, where a plain kernel would quietly be compiled once more, for seconds.
    """
    with _loading:
        # numba imports this at the first call with an array; a child forked meanwhile would wait for it for ever.
        import numpy.ma  # noqa: F401

        for compiled in entries:
            if compiled.arguments not in compiled.overloads:
                compiled.compile(compiled.arguments)
                compiled.disable_compile()
