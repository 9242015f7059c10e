"""Leak detection: objects on loan for longer than any borrower should need them are reclaimed and reported."""

import logging
import weakref
from collections import deque
from typing import Any, Final, TypeVar

from pooling.core.call_site import CallSite, describe
from pooling.core.pooled_object import PooledObject

T = TypeVar("T")

_REMEMBERED_MAX: Final = 64

_log: Final = logging.getLogger("penstock.pooling")


def take_leaked(loans: dict[int, PooledObject[T]], borrowed_before_ns: int) -> list[PooledObject[T]]:
    """Take loans that began before a moment out of ``loans``; whoever returns such an object later gets an error."""
    taken = []
    for key in list(loans):  # the keys alone: a list of pairs allocates, so the collector could run finalizers
        pooled = loans.get(key)
        if pooled is None or pooled.borrowed_ns >= borrowed_before_ns:
            continue
        # A return may come between the look and the pop, and even a new loan; the pop decides who has the object.
        claimed = loans.pop(key, None)
        if claimed is None:
            continue
        if claimed.borrowed_ns >= borrowed_before_ns:
            loans[key] = claimed
            continue
        taken.append(claimed)
    return taken


class ReclaimedObjects:
    """The last objects that were reclaimed, to explain a late return. It keeps none of them alive."""

    def __init__(self) -> None:
        self._borrowers: deque[tuple[weakref.ref[Any], CallSite | None]] = deque(maxlen=_REMEMBERED_MAX)

    def add(self, pooled: PooledObject[Any]) -> None:
        """Remember what was lent, unless its class has no weak references, as lists and dicts have none."""
        try:
            self._borrowers.append((weakref.ref(pooled.lent), pooled.borrowed_by))
        except TypeError:
            return

    def find(self, item: object) -> tuple[bool, CallSite | None]:
        """Tell whether an object was reclaimed, and where it had been borrowed."""
        for reference, borrower in list(self._borrowers):
            if reference() is item:
                return True, borrower
        return False, None


def report(pool_name: str, pooled: PooledObject[Any], now_ns: int) -> None:
    """Log a warning that names the borrower of a leaked object."""
    _log.warning(
        "pool %s: a %s was not returned for %.1f s and is reclaimed as leaked; borrowed by %s",
        pool_name,
        type(pooled.item).__name__,
        (now_ns - pooled.borrowed_ns) / 1e9,
        describe(pooled.borrowed_by, now_ns),
    )
