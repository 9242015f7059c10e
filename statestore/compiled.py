"""How the functions below the state store's entry points are compiled."""

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])

_compile: Any = njit  # typed without the options used here


def inner(function: Function) -> Function:
    """Decorates a function that only compiled code calls.

    It has no wrappers for Python and no file in the cache: its code is part of the entry point's. That saves a fifth of
    the time that a first start spends compiling. What `txqueue.compiled.kernel` says about allocation holds here, too.
    """
    compiled: Function = _compile(nogil=True, _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)
    return compiled
