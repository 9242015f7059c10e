"""Intrinsics for compiled timing loops: calls of the C library's clock and scheduler."""

from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types

from txqueue.jit.intrinsic import intrinsic

_WORD = ir.IntType(64)
_INT = ir.IntType(32)
_CLOCK_MONOTONIC: Final = 1
_NANOS: Final = 1_000_000_000


def _lower_monotonic_ns(_typing_context: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        timespec = ir.ArrayType(_WORD, 2)
        kind = ir.FunctionType(_INT, [_INT, timespec.as_pointer()])
        function = cgutils.get_or_insert_function(builder.module, kind, "clock_gettime")
        now = cgutils.alloca_once(builder, timespec)
        builder.call(function, [_INT(_CLOCK_MONOTONIC), now])
        seconds, nanoseconds = (builder.load(builder.gep(now, [_INT(0), _INT(part)]), typ=_WORD) for part in range(2))
        return builder.add(builder.mul(seconds, _WORD(_NANOS)), nanoseconds)

    return types.int64(), generate


@intrinsic(_lower_monotonic_ns)
def monotonic_ns() -> np.int64:
    """Reads the clock of ``time.monotonic_ns``, at some 20 ns a call."""


def _lower_sched_yield(_typing_context: Any) -> Any:
    def generate(context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_INT, []), "sched_yield")
        builder.call(function, [])
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic(_lower_sched_yield)
def sched_yield() -> None:
    """Lets another thread have the processor."""
