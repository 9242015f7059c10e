"""Parts of lowerings: what the functions that emit an intrinsic's instructions share."""

from typing import Any

from llvmlite import ir
from numba.core import errors, types

BIT = ir.IntType(1)
BYTE = ir.IntType(8)
INT = ir.IntType(32)
WORD = ir.IntType(64)


def require_memory(place: Any) -> None:
    """Refuses types of arguments that are not memory.

    Raises:
        TypingError: the type is neither a C-contiguous array of uint8 or uint64 nor a pointer.
    """
    if isinstance(place, types.CPointer):
        return
    if not isinstance(place, types.Array) or place.layout != "C" or place.dtype not in (types.uint8, types.uint64):
        raise errors.TypingError(f"memory access needs a pointer or a C-contiguous uint8 or uint64 array, not {place}")


def require_word(value: Any) -> Any:
    """The type of a 64-bit integer.

    Raises:
        TypingError: the type is neither int64 nor uint64.
    """
    kind = types.unliteral(value)
    if kind not in (types.int64, types.uint64):
        raise errors.TypingError(f"bits are those of an int64 or a uint64, not of {value}")
    return kind


def index_type(place: Any) -> Any:
    """The type of an index into an array, or behind a pointer."""
    return types.intp if isinstance(place, types.Array) else types.uint64


def address_of(context: Any, builder: Any, place_type: Any, place: Any, index: Any, element: Any) -> Any:
    """The address of an element, of the LLVM type ``element``, in an array or behind a pointer."""
    if isinstance(place_type, types.Array):
        place = context.make_array(place_type)(context, builder, place).data
    return builder.gep(builder.bitcast(place, element.as_pointer()), [index])
