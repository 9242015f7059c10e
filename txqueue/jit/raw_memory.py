"""Pointers for compiled code, and what it does with the memory behind them.

An array is seven values to numba, and references to it are counted atomically wherever it cannot prove that they need
not be: the apply kernel ran three times slower on arrays and took longer to compile. So the entry points take arrays,
which keeps the memory alive, and all code below them takes pointers. A pointer is indexed like an array; nothing checks
bounds. Indices are ``uint64``.
"""

from typing import Any, overload

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numpy.typing import NDArray

from txqueue.jit.intrinsic import intrinsic
from txqueue.jit.native_types import U64, Bytes, HalfWords, Words

_WORD = ir.IntType(64)
_BYTE = ir.IntType(8)
_INT = ir.IntType(32)
_BYTES = types.CPointer(types.uint8)


def _byte_at(builder: Any, pointer: Any, index: Any) -> Any:
    return builder.gep(builder.bitcast(pointer, _BYTE.as_pointer()), [index])


def _lower_pointer(_typing_context: Any, array: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.make_array(signature.args[0])(context, builder, arguments[0]).data

    return types.CPointer(array.dtype)(array), generate


@overload
def pointer(array: NDArray[np.uint64]) -> Words: ...
@overload
def pointer(array: NDArray[np.uint8]) -> Bytes: ...
@intrinsic(_lower_pointer)
def pointer(array: NDArray[Any]) -> Words | Bytes:
    """Points to the first element of an array, which must outlive the pointer."""


def _lower_as_bytes(_typing_context: Any, words: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], _BYTE.as_pointer())

    return _BYTES(words), generate


@intrinsic(_lower_as_bytes)
def as_bytes(words: Words) -> Bytes:
    """Gives the same address as a pointer to bytes."""


def _lower_as_half_words(_typing_context: Any, words: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], _INT.as_pointer())

    return types.CPointer(types.uint32)(words), generate


@intrinsic(_lower_as_half_words)
def as_half_words(words: Words) -> HalfWords:
    """Gives the same address as a pointer to ``uint32``."""


def _lower_match_below(_typing_context: Any, words: Any, _index: Any, _tag: Any, _bound: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        pointer, index, tag, bound = arguments
        line = ir.VectorType(_INT, 16)

        def everywhere(value: Any) -> Any:
            one = builder.insert_element(ir.Constant(line, ir.Undefined), builder.trunc(value, _INT), _INT(0))
            return builder.shuffle_vector(one, ir.Constant(line, ir.Undefined), ir.Constant(line, [0] * 16))

        address = builder.bitcast(builder.gep(pointer, [index]), line.as_pointer())
        items = builder.load(address, align=64, typ=line)
        hits = builder.icmp_unsigned("<", builder.xor(items, everywhere(tag)), everywhere(bound))
        return builder.zext(builder.bitcast(hits, ir.IntType(16)), _WORD)

    return types.uint64(words, types.uint64, types.uint64, types.uint64), generate


@intrinsic(_lower_match_below)
def match_below(words: Words, index: U64, tag: U64, bound: U64) -> U64:
    """Compares the 16 ``uint32`` of the cache line at a word: a bit for each with ``item ^ tag < bound``.

    A few vector instructions and no branch.
    """


def _lower_lowest_bit(_typing_context: Any, _bits: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), generate


@intrinsic(_lower_lowest_bit)
def lowest_bit(bits: U64) -> U64:
    """Counts the bits below the lowest one that is set; 64 where none is."""


def _lower_folded_multiply(_typing_context: Any, _a: Any, _b: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        double = ir.IntType(128)
        a, b = (builder.zext(argument, double) for argument in arguments)
        product = builder.mul(a, b)
        high = builder.trunc(builder.lshr(product, ir.Constant(double, 64)), _WORD)
        return builder.xor(builder.trunc(product, _WORD), high)

    return types.uint64(types.uint64, types.uint64), generate


@intrinsic(_lower_folded_multiply)
def folded_multiply(a: U64, b: U64) -> U64:
    """Multiplies to 128 bits and xors the halves of the product."""


def _lower_prefetch(_typing_context: Any, words: Any, _index: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [_BYTE.as_pointer(), _INT, _INT, _INT])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        address = builder.bitcast(builder.gep(arguments[0], [arguments[1]]), _BYTE.as_pointer())
        builder.call(function, [address, _INT(0), _INT(3), _INT(1)])  # read, keep in all levels, data
        return None

    return types.void(words, types.uint64), generate


@intrinsic(_lower_prefetch)
def prefetch(words: Words, index: U64) -> None:
    """Starts fetching the cache line of a word."""


def _lower_load_unaligned(_typing_context: Any, data: Any, _at: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        address = builder.bitcast(_byte_at(builder, *arguments), _WORD.as_pointer())
        return builder.load(address, align=1, typ=_WORD)

    return types.uint64(data, types.uint64), generate


@intrinsic(_lower_load_unaligned)
def load_unaligned(data: Words | Bytes, byte: U64) -> U64:
    """Loads eight little-endian bytes from any byte on."""


def _lower_copy_bytes(_typing_context: Any, to: Any, _to_at: Any, source: Any, _source_at: Any, _length: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        to_pointer, to_at, source_pointer, source_at, length = arguments
        target = _byte_at(builder, to_pointer, to_at)
        cgutils.raw_memcpy(builder, target, _byte_at(builder, source_pointer, source_at), length, 1)
        return None

    return types.void(to, types.uint64, source, types.uint64, types.uint64), generate


@intrinsic(_lower_copy_bytes)
def copy_bytes(to: Words | Bytes, to_byte: U64, source: Words | Bytes, source_byte: U64, length: U64) -> None:
    """Copies ``length`` bytes; offsets are in bytes, and the ranges must not overlap."""


def _lower_zero_bytes(_typing_context: Any, data: Any, _at: Any, _length: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        pointer, at, length = arguments
        cgutils.memset(builder, _byte_at(builder, pointer, at), length, 0)
        return None

    return types.void(data, types.uint64, types.uint64), generate


@intrinsic(_lower_zero_bytes)
def zero_bytes(data: Words | Bytes, byte: U64, length: U64) -> None:
    """Writes ``length`` zeros; the offset is in bytes."""
