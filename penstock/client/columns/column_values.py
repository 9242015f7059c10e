"""Values of columns: integers and bytes as programs have them, checked and brought into the forms that records need.

An error names the argument and its first bad row.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from penstock.client.errors import InvalidOperation

U64: Final = (0, (1 << 64) - 1)
I64: Final = (-(1 << 63), (1 << 63) - 1)
POSITIVE: Final = (1, (1 << 63) - 1)
NAMESPACE: Final = (0, 65_535)
ACCOUNT: Final = (0, (1 << 128) - 1)
_TEXTS: Final = {
    -(1 << 63): "-2^63",
    (1 << 63) - 1: "2^63-1",
    (1 << 64) - 1: "2^64-1",
    (1 << 128) - 1: "2^128-1",
}
_HALF: Final = (1 << 64) - 1

Range = tuple[int, int]
"""The least and the greatest value allowed."""
Halves = tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]
"""uint64[n] each: the lower and the upper halves of 128-bit integers."""
BytesColumn = bytes | Sequence[bytes] | npt.NDArray[np.bytes_] | npt.NDArray[np.object_]


def integers(name: str, values: npt.ArrayLike, allowed: Range) -> npt.NDArray[Any]:
    """The integers of a column, as an array of an integer type: [n], or [] for one that holds for all rows.

    Raises:
        InvalidOperation: one is no integer or not allowed, or they are no column.
    """
    array = _column(name, values)
    if array.dtype.kind not in "iu":
        return _from_objects(name, values, allowed)
    _check_range(name, array, allowed)
    return array


def accounts(name: str, values: npt.ArrayLike) -> Halves:
    """The halves of the 128-bit integers of a column: of integers, or of uint64[n, 2], lower halves first.

    Raises:
        InvalidOperation: one is no integer or not allowed, or they are no column.
    """
    if isinstance(values, np.ndarray) and values.ndim == 2 and values.shape[1] == 2 and values.dtype == np.uint64:
        return values[:, 0], values[:, 1]
    array = _column(name, values)
    if array.dtype.kind in "iu":
        _check_range(name, array, ACCOUNT)
        return array.astype(np.uint64), np.zeros(array.shape, np.uint64)
    objects = _checked_objects(name, values, ACCOUNT)
    lower = np.array([value & _HALF for value in objects], np.uint64)
    upper = np.array([value >> 64 for value in objects], np.uint64)
    return (lower, upper) if array.ndim else (lower[0], upper[0])


def byte_strings(name: str, given: BytesColumn) -> list[bytes]:
    """The byte strings of a column; one given alone is a column of one row.

    Raises:
        InvalidOperation: one is something else than bytes, or they are no column.
    """
    values: object = given  # which may be anything, whatever its annotation says
    if isinstance(values, bytes | bytearray | memoryview):
        return [bytes(values)]
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InvalidOperation(f"{name} is {type(values).__name__}, but must be bytes or a sequence of bytes")
    if not isinstance(values, list):
        # Of numpy, pandas and Arrow: their own items are no bytes.
        values = np.asarray(values).tolist() if hasattr(values, "__array__") else list(values)
    if set(map(type, values)) <= {bytes}:
        return values
    for row, value in enumerate(values):
        if not isinstance(value, bytes | bytearray | memoryview):
            raise InvalidOperation(f"{name}[{row}] is {type(value).__name__}, but must be bytes{_encode(value)}")
    return list(map(bytes, values))


def lengths(name: str, values: list[bytes], least: int, greatest: int) -> npt.NDArray[np.int64]:
    """int64[n]: the lengths of byte strings.

    Raises:
        InvalidOperation: one is shorter or longer than allowed.
    """
    found = np.fromiter(map(len, values), np.int64, len(values))
    bad = np.flatnonzero((found < least) | (found > greatest))
    if len(bad):
        raise InvalidOperation(
            f"{name}[{bad[0]}] has {found[bad[0]]} bytes, but must have {least} to {greatest} of them"
        )
    return found


def rows_of(columns: dict[str, int | None]) -> int:
    """The number of rows, from that of each named column; None or 1 holds for all rows.

    Raises:
        InvalidOperation: two columns differ.
    """
    long = {name: count for name, count in columns.items() if count is not None and count != 1}
    if not long:
        return 1
    name, rows = next(iter(long.items()))
    for other, count in long.items():
        if count != rows:
            raise InvalidOperation(f"{name} has {rows} rows and {other} has {count}, but all must have the same")
    return rows


def _column(name: str, values: npt.ArrayLike) -> npt.NDArray[Any]:
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidOperation(f"{name} is no column of integers: {error}") from None
    if array.ndim > 1:
        raise InvalidOperation(f"{name} has {array.ndim} dimensions, but a column has one")
    return array


def _check_range(name: str, array: npt.NDArray[Any], allowed: Range) -> None:
    """Compare where the type does not tell already; numpy compares its integers with Python's exactly."""
    least, greatest = allowed
    limits = np.iinfo(array.dtype)
    bad = np.zeros(array.shape, bool)
    if limits.min < least:
        bad |= array < least
    if limits.max > greatest:
        bad |= array > greatest
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise _not_allowed(name, row if array.ndim else None, int(array.reshape(-1)[row]), allowed)


def _from_objects(name: str, values: npt.ArrayLike, allowed: Range) -> npt.NDArray[Any]:
    """Integers that numpy took for something else: large ones beside negative ones become floats, say."""
    objects = _checked_objects(name, values, allowed)
    array = np.array(objects, np.int64 if allowed[1] <= I64[1] else np.uint64)
    return array if np.ndim(np.asarray(values, object)) else array[0]


def _checked_objects(name: str, values: npt.ArrayLike, allowed: Range) -> list[int]:
    objects = np.asarray(values, object)
    scalar = not objects.ndim
    for row, value in enumerate(objects.reshape(-1).tolist()):
        if not isinstance(value, int | np.integer) or isinstance(value, bool):
            place = name if scalar else f"{name}[{row}]"
            raise InvalidOperation(f"{place} is {value!r}, but must be an integer of {_text(allowed)}")
        if not allowed[0] <= value <= allowed[1]:
            raise _not_allowed(name, None if scalar else row, int(value), allowed)
    return [int(value) for value in objects.reshape(-1).tolist()]


def _not_allowed(name: str, row: int | None, value: int, allowed: Range) -> InvalidOperation:
    place = name if row is None else f"{name}[{row}]"
    return InvalidOperation(f"{place} is {value}, but must be {_text(allowed)}")


def _text(allowed: Range) -> str:
    return " to ".join(_TEXTS.get(bound, str(bound)) for bound in allowed)


def _encode(value: object) -> str:
    return ": encode it" if isinstance(value, str) else ""
