"""Processor instructions that numba does not offer: the clock, the pause of a spin loop, bits of a word."""

import platform
from typing import Any, overload

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types

from txqueue.jit.intrinsic import intrinsic
from txqueue.jit.lowering import BIT, INT, WORD, require_word
from txqueue.jit.native_types import U64

Int = int | np.int64 | np.uint64

_PAUSE: dict[str, tuple[str, list[int]]] = {
    "x86_64": ("llvm.x86.sse2.pause", []),
    "aarch64": ("llvm.aarch64.isb", [15]),
}


def _lower_ticks(_typing_context: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        kind = ir.FunctionType(WORD, [])
        if platform.machine() == "aarch64":
            return builder.call(ir.InlineAsm(kind, "mrs $0, cntvct_el0", "=r", side_effect=True), [])
        if platform.machine() == "x86_64":
            counter = builder.module.declare_intrinsic("llvm.readcyclecounter", (), kind)
            return builder.call(counter, [])
        return WORD(0)

    return types.uint64(), generate


@intrinsic(_lower_ticks)
def ticks() -> np.uint64:
    """Reads the processor's clock, of constant but unknown rate, the same for all cores and processes.

    Some ten nanoseconds. ``rdtsc`` on x86, the virtual counter on ARM; elsewhere always 0, and nothing is measured.
    """


def _lower_pause(_typing_context: Any) -> Any:
    def generate(context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        if platform.machine() in _PAUSE:
            name, operands = _PAUSE[platform.machine()]
            kind = ir.FunctionType(ir.VoidType(), [INT] * len(operands))
            builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [INT(o) for o in operands])
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic(_lower_pause)
def pause() -> None:
    """Tells the processor that this is a spin loop, so that it yields to its sibling thread."""


def _lower_bit_length(_typing_context: Any, value: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.sub(WORD(64), builder.ctlz(arguments[0], BIT(0)))

    return types.int64(require_word(value)), generate


@intrinsic(_lower_bit_length)
def bit_length(value: Int) -> np.int64:
    """Counts the bits of an ``int64`` or ``uint64``, taken as unsigned, without its leading zeros; 0 for 0."""


def _lower_bit_count(_typing_context: Any, value: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(require_word(value)), generate


@intrinsic(_lower_bit_count)
def bit_count(value: Int) -> np.int64:
    """Counts the bits of an ``int64`` or ``uint64`` that are set."""


def _lower_lowest_bit(_typing_context: Any, value: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], BIT(0))

    kind = require_word(value)
    return kind(kind), generate


@overload
def lowest_bit(value: U64) -> U64: ...
@overload
def lowest_bit(value: int | np.int64) -> np.int64: ...
@intrinsic(_lower_lowest_bit)
def lowest_bit(value: int | np.int64 | U64) -> np.int64 | U64:
    """Counts the bits below the lowest one that is set; 64 where none is. The count is of the value's own type."""


def _lower_folded_multiply(_typing_context: Any, _a: Any, _b: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        double = ir.IntType(128)
        a, b = (builder.zext(argument, double) for argument in arguments)
        product = builder.mul(a, b)
        high = builder.trunc(builder.lshr(product, ir.Constant(double, 64)), WORD)
        return builder.xor(builder.trunc(product, WORD), high)

    return types.uint64(types.uint64, types.uint64), generate


@intrinsic(_lower_folded_multiply)
def folded_multiply(a: U64, b: U64) -> U64:
    """Multiplies to 128 bits and xors the halves of the product."""
