"""A checked proxy: lent in an object's stead, it raises an error once the object was returned."""

from collections.abc import Callable
from typing import Any, Final

from pooling.core.call_site import describe
from pooling.core.errors import UsedAfterReturn
from pooling.core.pooled_object import PooledObject

_OPERATORS: Final = (
    *("__len__", "__iter__", "__next__", "__contains__", "__getitem__", "__setitem__", "__delitem__", "__call__"),
    *("__enter__", "__exit__", "__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__bool__", "__str__"),
    *("__neg__", "__pos__", "__abs__", "__invert__", "__bytes__", "__int__", "__float__", "__complex__", "__index__"),
    *(
        f"__{prefix}{name}__"
        for name in (
            *("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "divmod"),
            *("pow", "lshift", "rshift", "and", "xor", "or"),
        )
        for prefix in ("", "r", "i")  # "i": without the in-place operators, Python would bind the name to a new object
    ),
    *("__hash__", "__reversed__", "__await__", "__aiter__", "__anext__", "__aenter__", "__aexit__", "__array__"),
)
"""Python looks these up on the class, past ``__getattr__``, so each needs a method there."""

_classes: dict[type, type["CheckedProxy"]] = {}


class CheckedProxy:
    """Forwards everything to the object while the loan lasts; afterwards everything raises `UsedAfterReturn`."""

    __slots__ = ("__weakref__", "_proxy_now_ns", "_proxy_pooled", "_proxy_target")

    def __init__(self, pooled: PooledObject[Any], now_ns: Callable[[], int]) -> None:
        object.__setattr__(self, "_proxy_pooled", pooled)
        object.__setattr__(self, "_proxy_target", pooled.item)
        object.__setattr__(self, "_proxy_now_ns", now_ns)

    def __getattr__(self, name: str) -> Any:
        return getattr(_target_of(self, name), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(_target_of(self, name), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_target_of(self, name), name)


def wrap(pooled: PooledObject[Any], now_ns: Callable[[], int]) -> CheckedProxy:
    """Make a proxy that has the operators of the object's class; ``now_ns`` is the pool's monotonic clock."""
    kind = type(pooled.item)
    if kind not in _classes:
        operators = {name: _forwarding(name) for name in _OPERATORS if hasattr(kind, name)}
        _classes[kind] = type(f"CheckedProxy[{kind.__name__}]", (CheckedProxy,), {"__slots__": (), **operators})
    return _classes[kind](pooled, now_ns)


def revoke(proxy: CheckedProxy, *, leaked: bool = False) -> None:
    """End the loan, by a return or because the object counts as leaked: from now on the proxy raises."""
    object.__setattr__(proxy, "_proxy_target", _RECLAIMED if leaked else _RETURNED)


def pooled_of(proxy: CheckedProxy) -> PooledObject[Any]:
    """Give the record of the object behind a proxy, revoked or not."""
    pooled: PooledObject[Any] = object.__getattribute__(proxy, "_proxy_pooled")
    return pooled


_RETURNED: Final = object()
_RECLAIMED: Final = object()


def _target_of(proxy: CheckedProxy, name: str) -> Any:
    target = object.__getattribute__(proxy, "_proxy_target")
    if target is _RETURNED or target is _RECLAIMED:
        pooled, now_ns = pooled_of(proxy), object.__getattribute__(proxy, "_proxy_now_ns")()
        used = f"{name} of a {type(pooled.item).__name__} was used after"
        if target is _RECLAIMED:
            raise UsedAfterReturn(
                f"{used} it was reclaimed as leaked: return it earlier, or raise leak_after_s; "
                f"borrowed by {describe(pooled.borrowed_by, now_ns)}"
            )
        raise UsedAfterReturn(f"{used} its return; last returned by {describe(pooled.returned_by, now_ns)}")
    return target


def _forwarding(name: str) -> Any:
    def operator(self: CheckedProxy, *arguments: Any) -> Any:
        target = _target_of(self, name)
        result = getattr(target, name)(*arguments)
        return self if result is target else result  # `with` and `iter` must not give away the object behind the proxy

    return operator
