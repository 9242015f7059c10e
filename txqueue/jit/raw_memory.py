"""Raw pointers for compiled code.

An array is seven values to numba, and references to it are counted atomically wherever it cannot prove that they need
not be: the apply kernel ran three times slower on arrays and took longer to compile. So the entry points take arrays,
which keeps the memory alive, and all code below them takes pointers. A pointer is indexed like an array; nothing checks
bounds. Indices are ``uint64``.
"""

from typing import Any, TypeAlias

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

Words: TypeAlias = Any
"""A pointer to ``uint64``. numba infers these types, mypy cannot: for it they are names only."""
Bytes: TypeAlias = Any
"""A pointer to ``uint8``."""
U64: TypeAlias = Any
"""A ``uint64``."""

_WORD = ir.IntType(64)
_BYTE = ir.IntType(8)
_INT = ir.IntType(32)
_BYTES = types.CPointer(types.uint8)
_intrinsic: Any = intrinsic  # what it makes is called without the first parameter, which its own type does not say


def _byte_at(builder: Any, pointer: Any, index: Any) -> Any:
    return builder.gep(builder.bitcast(pointer, _BYTE.as_pointer()), [index])


@_intrinsic
def pointer(_typing_context: Any, array: Any) -> Any:
    """``pointer(array)``: to the first element of an array, which must outlive its use."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.make_array(signature.args[0])(context, builder, arguments[0]).data

    return types.CPointer(array.dtype)(array), generate


@_intrinsic
def as_bytes(_typing_context: Any, words: Any) -> Any:
    """``as_bytes(words)``: the same address as a pointer to bytes."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], _BYTE.as_pointer())

    return _BYTES(words), generate


@_intrinsic
def as_tags(_typing_context: Any, words: Any) -> Any:
    """``as_tags(words)``: the same address as a pointer to ``uint32``."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], _INT.as_pointer())

    return types.CPointer(types.uint32)(words), generate


@_intrinsic
def match_below(_typing_context: Any, words: Any, _index: Any, _tag: Any, _bound: Any) -> Any:
    """``match_below(words, index, tag, bound) -> uint64``: a bit for each ``uint32`` with ``item ^ tag < bound`` of the
    16 in the cache line at a word. A few vector instructions and no branch.
    """

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


@_intrinsic
def lowest_bit(_typing_context: Any, _bits: Any) -> Any:
    """``lowest_bit(bits) -> uint64``: the number of the lowest bit that is set; 64 where none is."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), generate


@_intrinsic
def folded_multiply(_typing_context: Any, _a: Any, _b: Any) -> Any:
    """``folded_multiply(a, b) -> uint64``: the halves of the 128-bit product of two ``uint64``, xored."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        double = ir.IntType(128)
        a, b = (builder.zext(argument, double) for argument in arguments)
        product = builder.mul(a, b)
        high = builder.trunc(builder.lshr(product, ir.Constant(double, 64)), _WORD)
        return builder.xor(builder.trunc(product, _WORD), high)

    return types.uint64(types.uint64, types.uint64), generate


@_intrinsic
def prefetch(_typing_context: Any, words: Any, _index: Any) -> Any:
    """``prefetch(words, index)``: starts fetching the cache line of a word."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [_BYTE.as_pointer(), _INT, _INT, _INT])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        address = builder.bitcast(builder.gep(arguments[0], [arguments[1]]), _BYTE.as_pointer())
        builder.call(function, [address, _INT(0), _INT(3), _INT(1)])  # read, keep in all levels, data
        return None

    return types.void(words, types.uint64), generate


@_intrinsic
def load_unaligned(_typing_context: Any, data: Any, _at: Any) -> Any:
    """``load_unaligned(data, at) -> uint64``: eight little-endian bytes from byte ``at``."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        address = builder.bitcast(_byte_at(builder, *arguments), _WORD.as_pointer())
        return builder.load(address, align=1, typ=_WORD)

    return types.uint64(data, types.uint64), generate


@_intrinsic
def copy_bytes(_typing_context: Any, to: Any, _to_at: Any, source: Any, _source_at: Any, _length: Any) -> Any:
    """``copy_bytes(to, to_at, source, source_at, length)``: offsets in bytes; the ranges must not overlap."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        to_pointer, to_at, source_pointer, source_at, length = arguments
        target = _byte_at(builder, to_pointer, to_at)
        cgutils.raw_memcpy(builder, target, _byte_at(builder, source_pointer, source_at), length, 1)
        return None

    return types.void(to, types.uint64, source, types.uint64, types.uint64), generate


@_intrinsic
def zero_bytes(_typing_context: Any, data: Any, _at: Any, _length: Any) -> Any:
    """``zero_bytes(data, at, length)``: offset in bytes."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        pointer, at, length = arguments
        cgutils.memset(builder, _byte_at(builder, pointer, at), length, 0)
        return None

    return types.void(data, types.uint64, types.uint64), generate
