"""Atomic operations for compiled code, on the words of a ``uint64`` array.

numba has none for processors, so these emit LLVM's own, with exactly the memory order that the name says. They are for
``@njit`` functions only. ``words`` is always a C-contiguous, 8-byte aligned ``uint64`` array and ``index`` counts its
words; nothing checks bounds. Values are ``uint64``: cast to ``int64`` before mixing them with signed integers, or numba
makes a float of the sum. A plain ``words[i]`` is not atomic: the compiler may hoist it out of a loop, or split it.

The orders are those of C11. x86 gives acquire and release for free and hides where they are missing; ARM does not.
"""

import platform
import sys
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, errors, types
from numpy.typing import NDArray

from txqueue.jit.intrinsic import intrinsic

assert sys.byteorder == "little", "the record, the log and the ring are little-endian words: this processor is not"

Words = NDArray[np.uint64]
Array = NDArray[np.uint64] | NDArray[np.uint8]
Int = int | np.int64 | np.uint64

_WORD = ir.IntType(64)
_BYTE = ir.IntType(8)
_INT = ir.IntType(32)
_PAUSE: dict[str, tuple[str, list[int]]] = {
    "x86_64": ("llvm.x86.sse2.pause", []),
    "aarch64": ("llvm.aarch64.isb", [15]),
}


def _require_words(words: Any) -> None:
    if not isinstance(words, types.Array) or words.dtype != types.uint64 or words.layout != "C" or not words.aligned:
        raise errors.TypingError(f"atomics need a C-contiguous, aligned uint64 array, not {words}")


def _require_bytes(array: Any) -> None:
    if not isinstance(array, types.Array) or array.layout != "C" or array.dtype not in (types.uint8, types.uint64):
        raise errors.TypingError(f"memory access needs a C-contiguous uint8 or uint64 array, not {array}")


def _data(context: Any, builder: Any, array_type: Any, array: Any, element: Any) -> Any:
    """A pointer to the array's first element, as a pointer to ``element``."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(data, element.as_pointer())


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any, element: Any = _WORD) -> Any:
    return builder.gep(_data(context, builder, array_type, array, element), [index])


def _load(order: str, words: Any) -> tuple[Any, Any]:
    _require_words(words)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], *arguments)
        return builder.load_atomic(pointer, order, 8, typ=_WORD)

    return types.uint64(words, types.intp), generate


def _store(order: str, words: Any) -> tuple[Any, Any]:
    _require_words(words)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, index, value = arguments
        builder.store_atomic(value, _pointer(context, builder, signature.args[0], array, index), order, 8)
        return context.get_dummy_value()

    return types.void(words, types.intp, types.uint64), generate


def _lower_load_relaxed(_typing_context: Any, words: Any, _index: Any) -> Any:
    return _load("monotonic", words)


@intrinsic(_lower_load_relaxed)
def load_relaxed(words: Words, index: Int) -> np.uint64:
    """Loads a word, never torn and never hoisted; orders nothing around it."""


def _lower_load_acquire(_typing_context: Any, words: Any, _index: Any) -> Any:
    return _load("acquire", words)


@intrinsic(_lower_load_acquire)
def load_acquire(words: Words, index: Int) -> np.uint64:
    """Loads a word; what the storer wrote before its ``store_release`` is visible after."""


def _lower_load_seq_cst(_typing_context: Any, words: Any, _index: Any) -> Any:
    return _load("seq_cst", words)


@intrinsic(_lower_load_seq_cst)
def load_seq_cst(words: Words, index: Int) -> np.uint64:
    """Loads a word, in one order of all such operations that every thread agrees on."""


def _lower_store_relaxed(_typing_context: Any, words: Any, _index: Any, _value: Any) -> Any:
    return _store("monotonic", words)


@intrinsic(_lower_store_relaxed)
def store_relaxed(words: Words, index: Int, value: Int) -> None:
    """Stores a word, never torn; orders nothing around it."""


def _lower_store_release(_typing_context: Any, words: Any, _index: Any, _value: Any) -> Any:
    return _store("release", words)


@intrinsic(_lower_store_release)
def store_release(words: Words, index: Int, value: Int) -> None:
    """Stores a word; whoever loads this value with acquire sees all stores before it."""


def _lower_store_seq_cst(_typing_context: Any, words: Any, _index: Any, _value: Any) -> Any:
    return _store("seq_cst", words)


@intrinsic(_lower_store_seq_cst)
def store_seq_cst(words: Words, index: Int, value: Int) -> None:
    """Stores a word, also ordered before this thread's later ``load_seq_cst``."""


def _lower_cas(_typing_context: Any, words: Any, _index: Any, _expected: Any, _desired: Any) -> Any:
    _require_words(words)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, index, expected, desired = arguments
        pointer = _pointer(context, builder, signature.args[0], array, index)
        return builder.extract_value(builder.cmpxchg(pointer, expected, desired, "seq_cst", "seq_cst"), 1)

    return types.boolean(words, types.intp, types.uint64, types.uint64), generate


@intrinsic(_lower_cas)
def cas(words: Words, index: Int, expected: Int, desired: Int) -> bool:
    """Replaces ``expected`` by ``desired`` and says so, or does nothing.

    Sequentially consistent: one ``lock cmpxchg`` on x86.
    """


def _lower_fetch_add(_typing_context: Any, words: Any, _index: Any, _amount: Any) -> Any:
    _require_words(words)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, index, amount = arguments
        return builder.atomic_rmw("add", _pointer(context, builder, signature.args[0], array, index), amount, "seq_cst")

    return types.uint64(words, types.intp, types.uint64), generate


@intrinsic(_lower_fetch_add)
def fetch_add(words: Words, index: Int, amount: Int) -> np.uint64:
    """Adds and returns what was there before; ``lock xadd`` on x86."""


def _lower_fence(_typing_context: Any) -> Any:
    def generate(context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic(_lower_fence)
def fence() -> None:
    """Lets nothing before it be reordered with anything after it. Dear: prefer ordered accesses."""


def _lower_fence_release(_typing_context: Any) -> Any:
    def generate(context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        builder.fence("release")
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic(_lower_fence_release)
def fence_release() -> None:
    """Lets no store after it be seen before anything that stands before it. Free on x86."""


def _lower_pause(_typing_context: Any) -> Any:
    def generate(context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        if platform.machine() in _PAUSE:
            name, operands = _PAUSE[platform.machine()]
            kind = ir.FunctionType(ir.VoidType(), [_INT] * len(operands))
            builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [_INT(o) for o in operands])
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic(_lower_pause)
def pause() -> None:
    """Tells the processor that this is a spin loop, so that it yields to its sibling thread."""


def _lower_prefetch(_typing_context: Any, array: Any, _index: Any) -> Any:
    return _prefetch(array, to_write=False)


@intrinsic(_lower_prefetch)
def prefetch(array: Array, index: Int) -> None:
    """Starts fetching the cache line of an element of a uint8 or uint64 array. Any index is harmless."""


def _lower_prefetch_to_write(_typing_context: Any, array: Any, _index: Any) -> Any:
    return _prefetch(array, to_write=True)


@intrinsic(_lower_prefetch_to_write)
def prefetch_to_write(array: Array, index: Int) -> None:
    """As :func:`prefetch`, and takes the line away from all other processors."""


def _prefetch(array: Any, *, to_write: bool) -> Any:
    _require_bytes(array)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        element = _WORD if signature.args[0].dtype == types.uint64 else _BYTE
        address = _pointer(context, builder, signature.args[0], arguments[0], arguments[1], element)
        kind = ir.FunctionType(ir.VoidType(), [_BYTE.as_pointer(), _INT, _INT, _INT])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        pointer = builder.bitcast(address, _BYTE.as_pointer())
        builder.call(function, [pointer, _INT(int(to_write)), _INT(3), _INT(1)])  # keep in all levels, data
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


def _lower_load_unaligned(_typing_context: Any, array: Any, _byte_offset: Any) -> Any:
    _require_bytes(array)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], arguments[0], arguments[1], _BYTE)
        return builder.load(builder.bitcast(pointer, _WORD.as_pointer()), align=1, typ=_WORD)

    return types.uint64(array, types.intp), generate


@intrinsic(_lower_load_unaligned)
def load_unaligned(array: Array, byte_offset: Int) -> np.uint64:
    """Loads eight little-endian bytes at any offset of a uint8 or uint64 array. Not atomic."""


def _lower_memcpy(
    _typing_context: Any, to: Any, _to_byte: Any, source: Any, _source_byte: Any, _byte_count: Any
) -> Any:
    _require_bytes(to)
    _require_bytes(source)
    if not to.mutable:
        raise errors.TypingError("memcpy writes to its first array, which is read-only")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        to_array, to_byte, source_array, source_byte, byte_count = arguments
        target = _pointer(context, builder, signature.args[0], to_array, to_byte, _BYTE)
        origin = _pointer(context, builder, signature.args[2], source_array, source_byte, _BYTE)
        cgutils.raw_memcpy(builder, target, origin, byte_count, 1)
        return context.get_dummy_value()

    return types.void(to, types.intp, source, types.intp, types.intp), generate


@intrinsic(_lower_memcpy)
def memcpy(to: Array, to_byte: Int, source: Array, source_byte: Int, byte_count: Int) -> None:
    """Copies between uint8 or uint64 arrays, at any byte offsets. The ranges must not overlap."""
