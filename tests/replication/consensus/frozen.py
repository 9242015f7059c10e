"""Values of objects: what a search over states compares, keeps, and makes objects of again."""

from collections import deque
from collections.abc import Hashable
from enum import Enum
from typing import Any

_ATOMS = frozenset({int, bytes, str, bool, type(None), frozenset})


def freeze(thing: Any) -> Hashable:
    """Return a value that is equal for equal objects; objects with slots, lists, dicts, sets and deques may change."""
    kind = type(thing)
    if kind in _ATOMS or isinstance(thing, tuple | Enum) or hasattr(thing, "__dataclass_fields__"):
        return thing  # type: ignore[no-any-return]
    if kind is list or kind is deque:
        return kind, tuple([freeze(each) for each in thing])
    if kind is dict:
        return kind, tuple([(key, freeze(value)) for key, value in thing.items()])
    if kind is set:
        return kind, frozenset(thing)
    return kind, tuple([freeze(getattr(thing, name)) for name in kind.__slots__])


def thaw(value: Any) -> Any:
    """Return a new object of a value that `freeze` gave."""
    if type(value) is not tuple or len(value) != 2 or type(value[0]) is not type:
        return value
    kind, content = value
    if kind is list or kind is deque:
        return kind([thaw(each) for each in content])
    if kind is dict:
        return {key: thaw(each) for key, each in content}
    if kind is set:
        return set(content)
    thing = kind.__new__(kind)
    for name, each in zip(kind.__slots__, content, strict=True):
        setattr(thing, name, thaw(each))
    return thing
