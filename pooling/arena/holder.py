"""A holder: one thread's registration with an arena, with the magazines and runs that it has cached."""

from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from pooling.arena.errors import HoldersExhausted
from pooling.arena.kernel import layout
from pooling.arena.kernel.recovery import flush_caches, release_holder, take_holder
from txqueue.region import fork
from txqueue.region.fork import disown_in_children, finalize_in_process
from txqueue.region.process_identity import is_alive, this_process

_CLOSED: Final[NDArray[np.uint64]] = np.zeros(layout.HOLDERS_AT + layout.HOLDER_WORDS, np.uint64)
"""The region of a closed holder: an arena without pages, in which nothing can be allocated."""


class Holder:
    """Allocates for one thread at a time; made by :meth:`~pooling.arena.slab_arena.SlabArena.register`.

    Attributes:
        words: uint64[:], the region. Compiled code passes it to ``kernel/operations.py``, with ``index``.
        index: the holder's index in the region.
    """

    def __init__(self, words: NDArray[np.uint64]) -> None:
        self.words = words
        self.index = _take(words)
        self._generation = fork.generation()
        self._release = finalize_in_process(self, _close, words, self.index)
        disown_in_children(self)

    @property
    def closed(self) -> bool:
        """Whether it is of no more use: it was closed, or is the parent process's."""
        return not self._release.alive or fork.generation() != self._generation

    def flush(self) -> int:
        """Returns the cached slots and runs to all holders; returns how many there were, and 0 once it is closed."""
        if self.closed:
            return 0
        return int(flush_caches(self.words, self.index))

    def close(self) -> None:
        """Frees all that this holder has, slots lent to it too: what is to live on must be adopted by others before."""
        self._release()
        self._forget()

    def disown(self) -> None:
        """Closes this object only: after a fork, the holder itself is the parent process's."""
        self._release.detach()
        self._forget()

    def _forget(self) -> None:
        self.words = _CLOSED
        self.index = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def recover_dead(words: NDArray[np.uint64]) -> int:
    """Frees all that the holders of dead processes had.

    Returns:
        Slots and runs that were freed.
    """
    owner = this_process()
    freed = 0
    for index, holder in _owners(words):
        dead = holder not in (0, owner) and not is_alive(holder)
        if dead and take_holder(words, index, holder, owner):
            freed += int(release_holder(words, index))
    return freed


def owner_of(words: NDArray[np.uint64], index: int) -> int:
    """The process that a holder belongs to, or 0."""
    return int(words[layout.HOLDERS_AT + index * layout.HOLDER_WORDS + layout.OWNER])


def _owners(words: NDArray[np.uint64]) -> list[tuple[int, int]]:
    return [(index, owner_of(words, index)) for index in range(int(words[layout.HOLDERS]))]


def _take(words: NDArray[np.uint64]) -> int:
    owner = this_process()
    for _ in range(2):
        for index, holder in _owners(words):
            if holder == 0 and take_holder(words, index, 0, owner):
                return index
        recover_dead(words)
    raise HoldersExhausted(
        f"all {int(words[layout.HOLDERS])} holders belong to running processes; "
        "close some, or create the arena with more"
    )


def _close(words: NDArray[np.uint64], index: int) -> None:
    flush_caches(words, index)
    release_holder(words, index)
