"""Objects that nobody will return: lent for longer than any borrower should need them."""

import logging
import weakref
from collections import deque
from typing import Any, Final, TypeVar

from pooling.core.call_site import CallSite
from pooling.core.pooled_object import PooledObject

T = TypeVar("T")

_REMEMBERED: Final = 64

_log: Final = logging.getLogger("penstock.pooling")


def take_abandoned(loans: dict[int, PooledObject[T]], borrowed_before_ns: int) -> list[PooledObject[T]]:
    """Take loans made before a moment away from their borrowers, who get an error if they return them after all."""
    taken = []
    for key in list(loans):  # of the keys alone: a list of pairs allocates, and the collector may run finalizers then
        entry = loans.get(key)
        if entry is None or entry.borrowed_ns >= borrowed_before_ns:
            continue
        # The pop decides between this and a return that comes in the same moment; the loan may even be a new one then.
        claimed = loans.pop(key, None)
        if claimed is None:
            continue
        if claimed.borrowed_ns >= borrowed_before_ns:
            loans[key] = claimed
            continue
        taken.append(claimed)
    return taken


class TakenAway:
    """The last objects taken from their borrowers, to explain a late return; keeps none of them alive."""

    def __init__(self) -> None:
        self._borrowers: deque[tuple[weakref.ref[Any], CallSite | None]] = deque(maxlen=_REMEMBERED)

    def add(self, entry: PooledObject[Any]) -> None:
        """Remember what was lent, where Python can without keeping it alive."""
        try:
            self._borrowers.append((weakref.ref(entry.lent), entry.borrowed_by))
        except TypeError:  # lists and dicts, for example
            return

    def find(self, item: object) -> tuple[bool, CallSite | None]:
        """Tell whether something was taken away, and who had borrowed it."""
        for reference, borrower in list(self._borrowers):
            if reference() is item:
                return True, borrower
        return False, None


def report(pool_name: str, entry: PooledObject[Any], held_s: float) -> None:
    """Tell the operator who borrowed it."""
    _log.warning(
        "pool %s: a %s was not returned for %.1f s and is taken for abandoned; borrowed by %s",
        pool_name,
        type(entry.item).__name__,
        held_s,
        entry.borrowed_by or "a caller that was not traced (see PoolOptions.trace)",
    )
