"""Arguments of calls: their exact types and ranges, and errors that name the argument.

Whatever counts as an integer (``__index__``: numpy's integers, too) is one, except bool; whatever holds bytes
(bytes-like objects, arrays of any item size) is taken as the bytes that it holds, not as the items that ``len`` counts.
"""

import math
import operator
from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np

from penstock.client.errors import InvalidOperation

T = TypeVar("T")

NAMESPACE_MAX = (1 << 16) - 1
SEQUENCE_MAX = (1 << 64) - 2
TIMEOUT_S_MAX = 1e9
"""About 30 years: more than any deadline, and small enough for every clock that has to hold it."""


def integer(value: object, name: str, lowest: int, highest: int) -> int:
    """``value`` as an int of ``lowest`` to ``highest``.

    Raises:
        InvalidOperation: it is no integer (a bool is none), or out of range.
    """
    if isinstance(value, bool):
        raise InvalidOperation(f"{name} must be an integer, not bool")
    try:
        number = operator.index(value)  # type: ignore[arg-type] # what is none raises TypeError
    except TypeError:
        raise InvalidOperation(f"{name} must be an integer, not {type(value).__name__}") from None
    if not lowest <= number <= highest:
        raise InvalidOperation(f"{name} is {number}, but must be {_power(lowest)} to {_power(highest)}")
    return number


def namespace_number(value: object, name: str = "namespace") -> int:
    """``value`` as a namespace, 0 to 65,535.

    Raises:
        InvalidOperation: it is none.
    """
    return integer(value, name, 0, NAMESPACE_MAX)


def octets(value: object, name: str, length_min: int, length_max: int) -> bytes:
    """The bytes that ``value`` holds.

    Raises:
        InvalidOperation: it holds none (a str has to be encoded first), too few or too many.
    """
    if type(value) is not bytes:
        view = bytes_view(value, name)
        length = view.nbytes
    else:
        length = len(value)
    if not length_min <= length <= length_max:
        raise InvalidOperation(f"{name} must have {length_min} to {length_max} bytes, not {length}")
    return value if type(value) is bytes else view.tobytes()


def bytes_view(value: object, name: str) -> memoryview:
    """A view of the memory that ``value`` holds, of whatever item size and shape.

    Raises:
        InvalidOperation: it holds no bytes, or Python objects.
    """
    try:
        view = memoryview(value)  # type: ignore[arg-type] # what holds none raises TypeError
    except (TypeError, ValueError, BufferError):
        hint = ": encode it first" if isinstance(value, str) else ""
        raise InvalidOperation(f"{name} must be bytes, not {type(value).__name__}{hint}") from None
    if "O" in view.format:
        raise InvalidOperation(f"{name} must be bytes, not an array of Python objects")
    return view


def boolean(value: object, name: str) -> bool:
    """``value`` as a bool; nothing else is one, or ``"no"`` would be True.

    Raises:
        InvalidOperation: it is no bool.
    """
    if not isinstance(value, bool | np.bool_):
        raise InvalidOperation(f"{name} must be a bool, not {type(value).__name__}")
    return bool(value)


def real(value: object, name: str, lowest: float, highest: float) -> float:
    """``value`` as a float of ``lowest`` to ``highest``.

    Raises:
        InvalidOperation: it is no number (a bool and NaN are none), or out of range.
    """
    if isinstance(value, bool | str | bytes | bytearray):
        raise InvalidOperation(f"{name} must be a number, not {type(value).__name__}")
    try:
        number = float(value)  # type: ignore[arg-type] # what is none raises TypeError
    except (TypeError, ValueError, OverflowError):
        raise InvalidOperation(f"{name} must be a number, not {type(value).__name__}") from None
    if math.isnan(number) or not lowest <= number <= highest:
        raise InvalidOperation(f"{name} is {number:g}, but must be {lowest:g} to {highest:g}")
    return number


def seconds(timeout: object, default: float) -> float:
    """The timeout of a call: ``timeout``, or the default where it is None.

    Raises:
        InvalidOperation: it is no number above 0.
    """
    if timeout is None:
        return default
    number = real(timeout, "timeout", 0.0, TIMEOUT_S_MAX)
    if number == 0:
        raise InvalidOperation("timeout is 0, but must be above 0 seconds")
    return number


def instance(value: object, kind: type[T], name: str) -> T:
    """``value``, which must be a ``kind``.

    Raises:
        InvalidOperation: it is something else.
    """
    if not isinstance(value, kind):
        raise InvalidOperation(f"{name} must be {_article(kind.__name__)}, not {type(value).__name__}")
    return value


def several(values: Iterable[Any], name: str) -> list[Any]:
    """The values as a list.

    Raises:
        InvalidOperation: they cannot be iterated over.
    """
    try:
        return list(values)
    except TypeError:
        raise InvalidOperation(f"{name} must be an iterable, not {type(values).__name__}") from None


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "AEIOU" else f"a {noun}"


def _power(number: int) -> str:
    """Bounds as people write them: 2^64-1 and not 18446744073709551615."""
    for offset in (1, 2, 0):
        beyond = abs(number) + offset if number > 0 else abs(number)
        if beyond >= 1 << 31 and beyond & (beyond - 1) == 0:
            sign, tail = ("-", "") if number < 0 else ("", f"-{offset}" if offset else "")
            return f"{sign}2^{beyond.bit_length() - 1}{tail}"
    return str(number)
