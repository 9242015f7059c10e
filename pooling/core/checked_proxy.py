"""A stand-in for a lent object that stops working when the object is returned."""

from typing import Any, Final

from pooling.core.errors import UsedAfterReturn
from pooling.core.pooled_object import PooledObject

_OPERATORS: Final = (
    *("__len__", "__iter__", "__next__", "__contains__", "__getitem__", "__setitem__", "__delitem__", "__call__"),
    *(
        "__enter__",
        "__exit__",
        "__eq__",
        "__ne__",
        "__lt__",
        "__le__",
        "__gt__",
        "__ge__",
        "__bool__",
        "__str__",
        "__hash__",
    ),
    *("__neg__", "__pos__", "__abs__", "__invert__", "__bytes__", "__int__", "__float__", "__complex__", "__index__"),
    *(
        f"__{prefix}{name}__"
        for name in (
            *("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "divmod"),
            *("pow", "lshift", "rshift", "and", "xor", "or"),
        )
        for prefix in ("", "r", "i")  # those in place, too: Python would bind the name to something new instead
    ),
    *("__reversed__", "__await__", "__aiter__", "__anext__", "__aenter__", "__aexit__", "__array__"),
)
"""Python looks these up on the class, past ``__getattr__``, so each needs a method there."""

_classes: dict[type, type["Guard"]] = {}


class Guard:
    """Passes everything on to the object while the loan lasts; afterwards everything raises."""

    __slots__ = ("__weakref__", "_guard_entry", "_guard_item")

    def __init__(self, entry: PooledObject[Any]) -> None:
        object.__setattr__(self, "_guard_entry", entry)
        object.__setattr__(self, "_guard_item", entry.item)

    def __getattr__(self, name: str) -> Any:
        return getattr(_item_of(self, name), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(_item_of(self, name), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_item_of(self, name), name)


def guard(entry: PooledObject[Any]) -> Guard:
    """Make a stand-in for the object of ``entry``, with the operators that the object's class has."""
    kind = type(entry.item)
    if kind not in _classes:
        operators = {name: _passing_on(name) for name in _OPERATORS if hasattr(kind, name)}
        _classes[kind] = type(f"Guard[{kind.__name__}]", (Guard,), {"__slots__": (), **operators})
    return _classes[kind](entry)


def revoke(stand_in: Guard) -> None:
    """End the loan: from now on the stand-in raises."""
    object.__setattr__(stand_in, "_guard_item", _RETURNED)


def entry_of(stand_in: Guard) -> PooledObject[Any]:
    """The record of the object that it stands for."""
    entry: PooledObject[Any] = object.__getattribute__(stand_in, "_guard_entry")
    return entry


_RETURNED: Final = object()


def _item_of(stand_in: Guard, name: str) -> Any:
    item = object.__getattribute__(stand_in, "_guard_item")
    if item is _RETURNED:
        entry = entry_of(stand_in)
        untraced = "a caller that was not traced (see PoolOptions.trace)"
        if entry.lent is stand_in and entry.borrowed_ns > entry.returned_ns:
            raise UsedAfterReturn(
                f"{name} of a {type(entry.item).__name__} was used after it was taken for abandoned: return it "
                f"earlier, or raise abandoned_s; borrowed by {entry.borrowed_by or untraced}"
            )
        raise UsedAfterReturn(
            f"{name} of a {type(entry.item).__name__} was used after its return; "
            f"last returned by {entry.returned_by or untraced}"
        )
    return item


def _passing_on(name: str) -> Any:
    def operator(self: Guard, *arguments: Any) -> Any:
        item = _item_of(self, name)
        result = getattr(item, name)(*arguments)
        return self if result is item else result  # what `with` or `iter` give must not slip past the guard

    return operator
