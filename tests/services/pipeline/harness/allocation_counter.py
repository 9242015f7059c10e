"""Counts what Python's object allocator is asked for, the way a profiler in C would: nothing is made for counting."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, cfunc, types  # type: ignore[attr-defined]
from numba.extending import intrinsic
from numpy.typing import NDArray

_DOMAIN_OBJECTS = 2

_Malloc = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_Calloc = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t)


class _Allocator(ctypes.Structure):
    """PyMemAllocatorEx."""

    _fields_ = (
        ("context", ctypes.c_void_p),
        ("malloc", ctypes.c_void_p),
        ("calloc", ctypes.c_void_p),
        ("realloc", ctypes.c_void_p),
        ("free", ctypes.c_void_p),
    )


def _as_words(_: Any, address: Any) -> Any:
    """uint64* of an address."""

    def cast(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())

    return types.CPointer(types.uint64)(address), cast


_words_at: Any = intrinsic(_as_words)


class AllocationCounter:
    """Inside of `counting`, every object that the process makes is counted, whichever thread makes it.

    Objects out of CPython's free lists are not; these are bounded by their nature.
    """

    def __init__(self) -> None:
        self._counts: NDArray[np.uint64] = np.zeros(1, np.uint64)
        self._before = _Allocator()
        ctypes.pythonapi.PyMem_GetAllocator(_DOMAIN_OBJECTS, ctypes.byref(self._before))
        # The context passed on is the wrapped allocator's own, so realloc and free need no wrapper.
        malloc = _Malloc(self._before.malloc)
        calloc = _Calloc(self._before.calloc)
        address = self._counts.ctypes.data

        @cfunc(types.voidptr(types.voidptr, types.uintp))
        def counting_malloc(context: Any, size: Any) -> Any:
            carray(_words_at(address), 1)[0] += np.uint64(1)
            return malloc(context, size)

        @cfunc(types.voidptr(types.voidptr, types.uintp, types.uintp))
        def counting_calloc(context: Any, count: Any, size: Any) -> Any:
            carray(_words_at(address), 1)[0] += np.uint64(1)
            return calloc(context, count, size)

        self._kept = (malloc, calloc, counting_malloc, counting_calloc)
        self._counting = _Allocator(
            self._before.context,
            counting_malloc.address,
            counting_calloc.address,
            self._before.realloc,
            self._before.free,
        )

    @contextmanager
    def counting(self) -> Iterator[NDArray[np.uint64]]:
        """Count; the array's only element tells how many so far."""
        self._counts[0] = 0
        ctypes.pythonapi.PyMem_SetAllocator(_DOMAIN_OBJECTS, ctypes.byref(self._counting))
        try:
            yield self._counts
        finally:
            ctypes.pythonapi.PyMem_SetAllocator(_DOMAIN_OBJECTS, ctypes.byref(self._before))
