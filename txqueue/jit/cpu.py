"""Instructions of the processor that numba lacks: its clock, and the length of a number."""

import platform
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types

from txqueue.jit.intrinsic import intrinsic

Int = int | np.int64 | np.uint64

_WORD = ir.IntType(64)


def _lower_ticks(_typing_context: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        kind = ir.FunctionType(_WORD, [])
        if platform.machine() == "aarch64":
            return builder.call(ir.InlineAsm(kind, "mrs $0, cntvct_el0", "=r", side_effect=True), [])
        if platform.machine() == "x86_64":
            counter = builder.module.declare_intrinsic("llvm.readcyclecounter", (), kind)
            return builder.call(counter, [])
        return _WORD(0)

    return types.uint64(), generate


@intrinsic(_lower_ticks)
def ticks() -> np.uint64:
    """Reads the processor's clock, of constant but unknown rate, the same for all cores and processes.

    Some ten nanoseconds. ``rdtsc`` on x86, the virtual counter on ARM; elsewhere always 0, and nothing is measured.
    """


def _lower_bit_length(_typing_context: Any, _value: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.sub(_WORD(64), builder.ctlz(arguments[0], ir.IntType(1)(0)))

    return types.int64(types.uint64), generate


@intrinsic(_lower_bit_length)
def bit_length(value: Int) -> np.int64:
    """Counts the bits of a ``uint64`` without its leading zeros; 0 for 0."""
