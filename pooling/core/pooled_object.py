"""A pooled object with the record that its pool keeps of it."""

from typing import Any, Generic, TypeVar

from pooling.core.call_site import CallSite
from txqueue.region import fork

T = TypeVar("T")


class PooledObject(Generic[T]):
    """The record of one object: its loans, their times, and its last borrower.

    At any moment a record belongs to one thread, whichever took it out of the idle deque or out of the loans; taking
    from either is atomic. So its fields need no lock, and the counts in it are exact without one.
    """

    __slots__ = (
        "borrowed_by",
        "borrowed_ns",
        "generation",
        "holding_ns",
        "item",
        "lent",
        "misses",
        "returned_by",
        "returned_ns",
        "reuses",
        "tested_ns",
    )

    def __init__(self, item: T, now_ns: int) -> None:
        self.item = item
        self.lent: Any = item
        """What the borrower was given: the object, or a checked proxy of it."""
        self.generation = fork.generation()
        """Of the process that made it; any other leaves the object alone."""
        self.reuses = 0
        """Borrows that found it idle."""
        self.misses = 0
        """All other borrows: it was made for the borrower, or the borrower had waited for it."""
        self.holding_ns = 0
        """Time on loan of all loans that have ended."""
        self.borrowed_ns = self.returned_ns = self.tested_ns = now_ns
        self.borrowed_by: CallSite | None = None
        self.returned_by: CallSite | None = None

    @property
    def borrows(self) -> int:
        """How often it was lent."""
        return self.reuses + self.misses
