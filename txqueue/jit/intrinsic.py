"""Typed intrinsics: operations that numba lacks, written in LLVM's instructions, with a face that mypy checks."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from numba import extending

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
Face = Callable[Parameters, Result]

_register: Any = extending.intrinsic  # typed as if callers had to give the typing context, which numba supplies


def intrinsic(lowering: Callable[..., Any]) -> Callable[[Face[Parameters, Result]], Face[Parameters, Result]]:
    """Decorates a function without a body, whose signature and docstring callers see, with what it compiles to.

    ``lowering(typing_context, *types)`` gives numba the signature for the types of the arguments, and the function that
    emits the instructions, or raises TypingError. It has a parameter for each of the face's, in the same order.
    """

    def declare(face: Face[Parameters, Result]) -> Face[Parameters, Result]:
        lowering.__name__ = face.__name__
        lowering.__doc__ = face.__doc__
        compiled: Face[Parameters, Result] = _register(lowering)
        return compiled

    return declare
