"""Fork ownership: what belongs to one process is neither used nor released by the children that it forks.

A child inherits all objects of its parent, while what some of them stand for in shared memory, such as a ring's
producer, stays the parent's. So such objects are disowned in every child, and their finalizers do nothing there.

CPython drops the thread-local objects of all threads but the forking one before it runs what was registered with
``os.register_at_fork``. Their finalizers run in a child that nobody has told yet; so do forks made by other languages'
code. Hence a child finds out by itself, whenever it asks for its :func:`generation`: by a page that the kernel wipes in
every child (MADV_WIPEONFORK). Reading a byte of it costs a seventh of asking for the process id.
"""

import contextlib
import gc
import mmap
import os
import weakref
from collections.abc import Callable
from typing import Any, Final, Protocol

_MADV_WIPEONFORK: Final = 18
"""Linux's number, from 4.14 on, which `mmap` has no name for."""


class ProcessOwned(Protocol):
    """Stands for something that belongs to the process that made this object."""

    def disown(self) -> None:
        """Makes this object useless, and leaves what it stands for to the parent process."""


def _wiped_page() -> mmap.mmap | None:
    page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    try:
        page.madvise(_MADV_WIPEONFORK)
    except OSError:  # not every sandbox that passes for Linux knows it
        return None
    page[0] = 1
    return page


_owned: "weakref.WeakSet[ProcessOwned]" = weakref.WeakSet()
_generation = 0
_page = _wiped_page()
"""Its first byte is 0 in a child that has not noticed yet; None where process ids have to tell."""
_process_id = os.getpid()


def disown_in_children(owned: ProcessOwned) -> None:
    """Disowns the object in every child that is forked while it exists."""
    _owned.add(owned)


def finalize_in_process(
    owned: object, release: Callable[..., object], *arguments: object
) -> "weakref.finalize[..., Any]":
    """As ``weakref.finalize``, but ``release(*arguments)`` is called in the calling process only."""
    return weakref.finalize(owned, _release_in, generation(), release, *arguments)


def generation() -> int:
    """Counts the forks that led to this process. A child that learns of its fork by this disowns all first."""
    if not _page[0] if _page is not None else os.getpid() != _process_id:
        _become_child()
    return _generation


def _release_in(owner: int, release: Callable[..., object], *arguments: object) -> None:
    if generation() == owner:
        release(*arguments)


def _become_child() -> None:
    global _generation, _process_id
    # What the parent left as garbage is never collected here: gRPC's objects wait, when they go, for threads that a
    # child does not have.
    gc.freeze()
    _generation += 1
    _process_id = os.getpid()
    if _page is not None:
        _page[0] = 1
    with contextlib.ExitStack() as stack:  # what one raises keeps none of the others from its turn
        for owned in list(_owned):
            stack.callback(owned.disown)


os.register_at_fork(after_in_child=generation)
