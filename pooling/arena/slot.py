"""A slot of an arena as a Python object, which notices views that outlive it."""

import sys
import threading
from types import TracebackType
from typing import Any, Final, NoReturn, Protocol, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pooling.arena.errors import ArenaClosed, SlotInUse, SlotReturned
from txqueue.region import fork

_UNVIEWED: Final = 2
"""References to a slot's array when there is no view of it: the slot's own, and the argument of `getrefcount`."""


class Returner(Protocol):
    """The arena, as far as a slot needs it."""

    def free(self, handle: int) -> None:
        """Takes a slot back."""

    def free_finally(self, handle: int) -> None:
        """Takes a slot back from a finalizer."""


class Slot:
    """Bytes lent by an arena until :meth:`release`, or the end of a ``with`` block.

    :meth:`SlabArena.allocate <pooling.arena.slab_arena.SlabArena.allocate>` makes them.

    A slot is not returned while there are views of it, or views of those: :meth:`release` raises then, and a slot whose
    ``with`` block ends, or that is dropped, is returned as soon as its last view is gone.

    Attributes:
        handle: names the slot for compiled code and other processes, as long as it is lent.
        byte_count: bytes that were asked for.
    """

    __slots__ = (
        "__weakref__",
        "_array",
        "_fate",
        "_fork_generation",
        "_returner",
        "byte_count",
        "handle",
    )

    def __init__(self, returner: Returner, handle: int, array: NDArray[np.uint8]) -> None:
        self.handle = handle
        self.byte_count = array.size
        # Views are made of memoryviews of this array, never by slicing it: numpy lets a slice of a slice refer to the
        # first owner of the memory, so that this array would not know of it.
        self._array: NDArray[np.uint8] | None = array
        self._returner = returner
        self._fork_generation = fork.generation()
        self._fate = ""

    @property
    def view(self) -> memoryview:
        """The slot's bytes, writable, with whatever its last user left in them."""
        if self._array is None:
            self._refuse()
        return self._array.data

    def array(self, dtype: DTypeLike = np.uint8) -> NDArray[Any]:
        """The slot's bytes as ``dtype[:]``, writable; what does not fill a whole element is left out."""
        return np.frombuffer(self.view, dtype, self.byte_count // np.dtype(dtype).itemsize)

    @property
    def is_viewed(self) -> bool:
        """Whether there are views of the slot."""
        return self._array is not None and sys.getrefcount(self._array) > _UNVIEWED

    def release(self) -> None:
        """Returns the slot.

        Raises:
            SlotInUse: there are views of it. It stays lent.
            SlotReturned: it was returned before.
            SlotDamaged: somebody wrote beyond its bytes (debug mode). It is returned.
            ArenaClosed: it is the parent process's.
        """
        if self._array is None:
            self._refuse()
        self._check_owner()
        if sys.getrefcount(self._array) > _UNVIEWED:
            views = sys.getrefcount(self._array) - _UNVIEWED
            raise SlotInUse(f"{views} memoryviews or arrays of slot {self.handle:#x} are in use; drop them first")
        self._end("returned")
        self._returner.free(self.handle)

    def hand_over(self) -> int:
        """Gives the slot away, to be adopted by its handle, usually by another process; this object is of no more use.

        Until it is adopted, the slot stays lent to this process, and is freed with it.

        Raises:
            SlotInUse: there are views of it.
            SlotReturned: it was returned before.
            ArenaClosed: it is the parent process's.
        """
        if self._array is None:
            self._refuse()
        self._check_owner()
        if sys.getrefcount(self._array) > _UNVIEWED:
            raise SlotInUse(f"slot {self.handle:#x} cannot be handed over while there are views of it; drop them first")
        self._end("handed over")
        return self.handle

    def _check_owner(self) -> None:
        if self._fork_generation != fork.generation():
            raise ArenaClosed("this slot was lent to the parent process, which is still using it; allocate another")

    def _end(self, what: str) -> None:
        self._array = None
        self._fate = f"{what} by thread {threading.current_thread().name!r}"

    def _refuse(self) -> NoReturn:
        raise SlotReturned(f"slot {self.handle:#x} was {self._fate}; whoever uses it now does so too late")

    def _return_once_unviewed(self) -> bool:
        """Returns the slot now, or once its last view is gone; returns whether it was now."""
        if self._array is None or self._fork_generation != fork.generation():
            return True
        viewed = self.is_viewed
        if viewed:
            finalizer = fork.finalize_in_process(self._array, self._returner.free_finally, self.handle)
            finalizer.atexit = False  # the process's death returns it anyway
            self._end("returned")
        else:
            self._end("returned")
            self._returner.free_finally(self.handle)
        return not viewed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._return_once_unviewed() and error is None:
            raise SlotInUse(
                f"the block that borrowed slot {self.handle:#x} left views of it behind; it is returned once they are "
                "gone: drop them inside the block"
            )

    def __del__(self) -> None:
        if getattr(self, "_array", None) is not None:
            self._return_once_unviewed()

    def __repr__(self) -> str:
        return f"<Slot {self.handle:#x} of {self.byte_count} bytes{', ' + self._fate if self._fate else ''}>"
