"""Raw memory access for compiled code: bytes at any offset, prefetches, and pointers in place of arrays.

A *place* is a C-contiguous array of uint8 or uint64, or a pointer. Nothing checks bounds.

Where many functions call one another, pointers are faster: an array is seven values to numba, and references to it are
counted atomically wherever it cannot prove that they need not be. The apply kernel ran three times slower on arrays and
took longer to compile. So its entry points take arrays, which keeps the memory alive, and all code below them takes
pointers. A pointer is indexed like an array, by ``uint64``.
"""

from typing import Any, overload

import numpy as np
from llvmlite import ir
from numba.core import cgutils, errors, types
from numpy.typing import NDArray

from txqueue.jit.intrinsic import intrinsic
from txqueue.jit.lowering import BYTE, INT, WORD, address_of, index_type, require_memory
from txqueue.jit.native_types import U64, Bytes, HalfWords, Words

_BYTES = types.CPointer(types.uint8)

Array = NDArray[np.uint64] | NDArray[np.uint8]
Int = int | np.int64 | np.uint64


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
        return builder.bitcast(arguments[0], BYTE.as_pointer())

    return _BYTES(words), generate


@intrinsic(_lower_as_bytes)
def as_bytes(words: Words) -> Bytes:
    """Gives the same address as a pointer to bytes."""


def _lower_as_half_words(_typing_context: Any, words: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], INT.as_pointer())

    return types.CPointer(types.uint32)(words), generate


@intrinsic(_lower_as_half_words)
def as_half_words(words: Words) -> HalfWords:
    """Gives the same address as a pointer to ``uint32``."""


def _lower_match_below(_typing_context: Any, words: Any, _index: Any, _tag: Any, _bound: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        pointer, index, tag, bound = arguments
        line = ir.VectorType(INT, 16)

        def everywhere(value: Any) -> Any:
            one = builder.insert_element(ir.Constant(line, ir.Undefined), builder.trunc(value, INT), INT(0))
            return builder.shuffle_vector(one, ir.Constant(line, ir.Undefined), ir.Constant(line, [0] * 16))

        address = builder.bitcast(builder.gep(pointer, [index]), line.as_pointer())
        items = builder.load(address, align=64, typ=line)
        hits = builder.icmp_unsigned("<", builder.xor(items, everywhere(tag)), everywhere(bound))
        return builder.zext(builder.bitcast(hits, ir.IntType(16)), WORD)

    return types.uint64(words, types.uint64, types.uint64, types.uint64), generate


@intrinsic(_lower_match_below)
def match_below(words: Words, index: U64, tag: U64, bound: U64) -> U64:
    """Compares the 16 ``uint32`` of the cache line at a word: a bit for each with ``item ^ tag < bound``.

    A few vector instructions and no branch.
    """


def _prefetch(place: Any, *, to_write: bool) -> Any:
    require_memory(place)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        memory, index = arguments
        element = context.get_data_type(place.dtype)
        address = address_of(context, builder, signature.args[0], memory, index, element)
        kind = ir.FunctionType(ir.VoidType(), [BYTE.as_pointer(), INT, INT, INT])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        pointer = builder.bitcast(address, BYTE.as_pointer())
        builder.call(function, [pointer, INT(int(to_write)), INT(3), INT(1)])  # keep in all levels, data
        return context.get_dummy_value()

    return types.void(place, index_type(place)), generate


def _lower_prefetch(_typing_context: Any, place: Any, _index: Any) -> Any:
    return _prefetch(place, to_write=False)


@overload
def prefetch(place: Words | Bytes, index: U64) -> None: ...
@overload
def prefetch(place: Array, index: Int) -> None: ...
@intrinsic(_lower_prefetch)
def prefetch(place: Array | Words | Bytes, index: Int | U64) -> None:
    """Starts fetching the cache line of an element. Any index is harmless."""


def _lower_prefetch_to_write(_typing_context: Any, place: Any, _index: Any) -> Any:
    return _prefetch(place, to_write=True)


@overload
def prefetch_to_write(place: Words | Bytes, index: U64) -> None: ...
@overload
def prefetch_to_write(place: Array, index: Int) -> None: ...
@intrinsic(_lower_prefetch_to_write)
def prefetch_to_write(place: Array | Words | Bytes, index: Int | U64) -> None:
    """As :func:`prefetch`, and takes the line away from all other processors."""


def _lower_load_unaligned(_typing_context: Any, place: Any, _byte: Any) -> Any:
    require_memory(place)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        memory, byte = arguments
        address = address_of(context, builder, signature.args[0], memory, byte, BYTE)
        return builder.load(builder.bitcast(address, WORD.as_pointer()), align=1, typ=WORD)

    return types.uint64(place, index_type(place)), generate


@overload
def load_unaligned(place: Words | Bytes, byte: U64) -> U64: ...
@overload
def load_unaligned(place: Array, byte: Int) -> np.uint64: ...
@intrinsic(_lower_load_unaligned)
def load_unaligned(place: Array | Words | Bytes, byte: Int | U64) -> np.uint64 | U64:
    """Loads eight little-endian bytes from any byte on. Not atomic."""


def _lower_copy_bytes(
    _typing_context: Any, to: Any, _to_byte: Any, source: Any, _source_byte: Any, _length: Any
) -> Any:
    require_memory(to)
    require_memory(source)
    if not getattr(to, "mutable", True):
        raise errors.TypingError("copy_bytes writes to its first array, which is read-only")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        to_memory, to_byte, source_memory, source_byte, length = arguments
        target = address_of(context, builder, signature.args[0], to_memory, to_byte, BYTE)
        origin = address_of(context, builder, signature.args[2], source_memory, source_byte, BYTE)
        cgutils.raw_memcpy(builder, target, origin, length, 1)
        return context.get_dummy_value()

    return types.void(to, index_type(to), source, index_type(source), index_type(to)), generate


@overload
def copy_bytes(to: Words | Bytes, to_byte: U64, source: Words | Bytes, source_byte: U64, length: U64) -> None: ...
@overload
def copy_bytes(to: Array, to_byte: Int, source: Array, source_byte: Int, length: Int) -> None: ...
@intrinsic(_lower_copy_bytes)
def copy_bytes(
    to: Array | Words | Bytes,
    to_byte: Int | U64,
    source: Array | Words | Bytes,
    source_byte: Int | U64,
    length: Int | U64,
) -> None:
    """Copies ``length`` bytes; offsets are in bytes, and the ranges must not overlap."""


def _lower_zero_bytes(_typing_context: Any, place: Any, _byte: Any, _length: Any) -> Any:
    require_memory(place)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        memory, byte, length = arguments
        cgutils.memset(builder, address_of(context, builder, signature.args[0], memory, byte, BYTE), length, 0)
        return context.get_dummy_value()

    return types.void(place, index_type(place), index_type(place)), generate


@intrinsic(_lower_zero_bytes)
def zero_bytes(place: Words | Bytes, byte: U64, length: U64) -> None:
    """Writes ``length`` zeros; the offset is in bytes."""
