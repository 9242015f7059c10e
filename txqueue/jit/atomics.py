"""Atomic operations for compiled code, on the words of a ``uint64`` array.

numba has none for processors, so these emit LLVM's own, with exactly the memory order that the name says. They are for
``@njit`` functions only. ``words`` is always a C-contiguous, 8-byte aligned ``uint64`` array and ``index`` counts its
words; nothing checks bounds. Values are ``uint64``: cast to ``int64`` before mixing them with signed integers, or numba
makes a float of the sum. A plain ``words[i]`` is not atomic: the compiler may hoist it out of a loop, or split it.

The orders are those of C11. x86 gives acquire and release for free and hides where they are missing; ARM does not.
"""

import sys
from typing import Any

import numpy as np
from numba.core import errors, types
from numpy.typing import NDArray

from txqueue.jit.intrinsic import intrinsic
from txqueue.jit.lowering import WORD, address_of

assert sys.byteorder == "little", "the record, the log and the ring are little-endian words: this processor is not"

Words = NDArray[np.uint64]
Int = int | np.int64 | np.uint64


def _require_words(words: Any) -> None:
    if not isinstance(words, types.Array) or words.dtype != types.uint64 or words.layout != "C" or not words.aligned:
        raise errors.TypingError(f"atomics need a C-contiguous, aligned uint64 array, not {words}")


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    return address_of(context, builder, array_type, array, index, WORD)


def _load(order: str, words: Any) -> tuple[Any, Any]:
    _require_words(words)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], *arguments)
        return builder.load_atomic(pointer, order, 8, typ=WORD)

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
