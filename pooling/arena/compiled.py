"""How the arena's functions are compiled. What :mod:`txqueue.compiled` says about allocation holds here, too."""

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit, types

from txqueue.compiled import WORDS

Function = TypeVar("Function", bound=Callable[..., Any])

_compile: Any = njit  # typed without the options used here


def inner(function: Function) -> Function:
    """Decorates a function that only this package's compiled code calls.

    It has no wrappers for Python and no file in the cache: its code is part of its callers'.
    """
    compiled: Function = _compile(nogil=True, _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)
    return compiled


def operation(integers: int) -> Callable[[Function], Function]:
    """Decorates a function of the region's words and so many int64, for Python and for compiled code anywhere.

    It becomes part of the code that calls it: a call costs more than lending a slot does. As with
    :func:`txqueue.compiled.entry`, whoever calls it from Python loads it first.
    """

    def decorate(function: Function) -> Function:
        compiled: Any = _compile(nogil=True, cache=True, _nrt=False, forceinline=True)(function)
        compiled.arguments = (WORDS, *(types.int64,) * integers)
        typed: Function = compiled
        return typed

    return decorate
