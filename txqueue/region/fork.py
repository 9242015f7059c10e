"""Fork ownership: what belongs to one process is neither used nor released by the children that it forks.

A child inherits all objects of its parent, while what some of them stand for in shared memory, such as a ring's
producer, stays the parent's. So such objects are disowned in every child, and their finalizers do nothing there.

CPython drops the thread-local objects of all threads but the forking one before it runs what was registered with
``os.register_at_fork``. Their finalizers run in a child that has disowned nothing yet, and that still sees whatever its
parent had cached: only ``os.getpid()`` tells them where they are.
"""

import os
import weakref
from collections.abc import Callable
from typing import Any, Protocol


class ProcessOwned(Protocol):
    """Stands for something that belongs to the process that made this object."""

    def disown(self) -> None:
        """Makes this object useless, and leaves what it stands for to the parent process."""


_owned: "weakref.WeakSet[ProcessOwned]" = weakref.WeakSet()
_generation = 0


def disown_in_children(owned: ProcessOwned) -> None:
    """Disowns the object in every child that is forked while it exists."""
    _owned.add(owned)


def finalize_in_process(
    owned: object, release: Callable[..., object], *arguments: object
) -> "weakref.finalize[..., Any]":
    """As ``weakref.finalize``, but ``release(*arguments)`` is called in the calling process only."""
    return weakref.finalize(owned, _release_in, os.getpid(), release, *arguments)


def generation() -> int:
    """Counts the forks that led to this process; in a child, not before its thread-local objects were dropped."""
    return _generation


def _release_in(process_id: int, release: Callable[..., object], *arguments: object) -> None:
    if os.getpid() == process_id:
        release(*arguments)


def _become_child() -> None:
    global _generation
    _generation += 1
    for owned in list(_owned):
        owned.disown()


os.register_at_fork(after_in_child=_become_child)
