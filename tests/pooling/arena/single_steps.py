"""Runs one operation of an arena in a process that is stopped after every instruction, and looks at the arena then.

Whenever an instruction changed the arena's books, copies of them answer two questions: what if the process died here,
and what if it stopped here while others went on. Prints how many instructions and states of the books there were.

Usage: python -m tests.pooling.arena.single_steps OPERATION
"""

import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pooling.arena import layout
from pooling.arena.kernels import adopt, allocate, free
from pooling.arena.recovery import empty_magazines, release_holder, retire_slabs
from pooling.arena.slab_arena import SlabArena
from tests.pooling.arena.audit import audit
from txqueue.compiled import load

NOT_ALLOWED: Final = 77
"""Exit status where this machine does not let processes be traced."""

_TRACEME: Final = 0
_SINGLESTEP: Final = 9
_SLOT_BYTES: Final = 1024
"""64 of these are a slab, and half a magazine."""
_RUN_BYTES: Final = 20_000
_RUN_PAGES: Final = 5
_OURS: Final = 0
"""The holder of this process, which lives on."""
_THEIRS: Final = 1

Words = NDArray[np.uint64]

_libc = ctypes.CDLL(None, use_errno=True)


def _ptrace(request: int, pid: int) -> int:
    return int(_libc.ptrace(ctypes.c_long(request), ctypes.c_long(pid), None, None))


class Child:
    """What the process does that is stopped: each operation gets everything ready and returns the step that counts."""

    def __init__(self, words: Words, foreign_slot: int, foreign_run: int) -> None:
        self.words = words
        self.foreign_slot = foreign_slot
        self.foreign_run = foreign_run
        self.slots = [self.lend(_SLOT_BYTES) for _ in range(layout.MAGAZINE_SLOTS_MAX + 10)]
        self.run = self.lend(_RUN_BYTES)

    def lend(self, byte_count: int) -> int:
        handle = int(allocate(self.words, _THEIRS, byte_count))
        assert handle > 0
        return handle

    def take_back(self, handle: int) -> None:
        assert free(self.words, _THEIRS, handle) == 0

    def return_slots(self, kept: int = 0) -> None:
        while len(self.slots) > kept:
            self.take_back(self.slots.pop())

    def allocate(self) -> Callable[[], object]:
        self.return_slots(3)
        return lambda: self.lend(_SLOT_BYTES)

    def free(self) -> Callable[[], object]:
        return lambda: self.take_back(self.slots[0])

    def free_of_another_holder(self) -> Callable[[], object]:
        return lambda: self.take_back(self.foreign_slot)

    def adopt(self) -> Callable[[], object]:
        return lambda: adopt(self.words, _THEIRS, self.foreign_slot)

    def flush(self) -> Callable[[], object]:
        kept = len(self.slots) + int(self.words[_magazine()] & np.uint64(layout.TALLY_MASK)) - layout.MAGAZINE_SLOTS_MAX
        self.return_slots(kept)
        return lambda: self.take_back(self.slots[0])

    def refill(self) -> Callable[[], object]:
        self.return_slots()
        empty_magazines(self.words, _THEIRS)
        return lambda: self.lend(_SLOT_BYTES)

    def cut_slab(self) -> Callable[[], object]:
        return lambda: self.lend(2 * _SLOT_BYTES)  # nobody has any of that size

    def retire_slabs(self) -> Callable[[], object]:
        self.return_slots()
        empty_magazines(self.words, _THEIRS)
        return lambda: retire_slabs(self.words, _THEIRS)

    def allocate_run(self) -> Callable[[], object]:
        return lambda: self.lend(_RUN_BYTES)

    def free_run(self) -> Callable[[], object]:
        return lambda: self.take_back(self.run)

    def free_run_of_another_holder(self) -> Callable[[], object]:
        return lambda: self.take_back(self.foreign_run)

    def recover(self) -> Callable[[], object]:
        self.return_slots(kept=10)
        empty_magazines(self.words, _THEIRS)
        self.lend(_SLOT_BYTES)
        return lambda: release_holder(self.words, _THEIRS)


def _magazine() -> int:
    size_class = (_SLOT_BYTES // layout.GRANULE_BYTES).bit_length()
    magazines = layout.HOLDERS_AT + _THEIRS * layout.HOLDER_WORDS + layout.MAGAZINES
    return magazines + (size_class - 1) * layout.MAGAZINE_WORDS


def what_if_it_died_here(books: Words, foreign: bool) -> None:
    """Once recovered, everything is free but what we hold; the dead may have taken over or returned one of that."""
    release_holder(books, _THEIRS)
    found = audit(books)
    assert set(found.held) | set(found.cached) == {_OURS}, "nothing is the dead one's"
    assert found.held[_OURS] == 6 or (foreign and found.held[_OURS] == 5)
    empty_magazines(books, _OURS)
    retire_slabs(books, _OURS)
    needed_pages = layout.UNIT_PAGES + found.runs * _RUN_PAGES
    assert audit(books).free_pages == int(books[layout.PAGES]) - needed_pages, "not a page is leaked"


def what_if_it_stopped_here(books: Words, foreign: bool) -> None:
    """We go on and take all that we can get: nothing twice, nothing that is the stopped one's; it may die later."""
    theirs = _marks_of(books, _THEIRS)
    lent: dict[int, int] = {}
    for byte_count in (_SLOT_BYTES, _RUN_BYTES):
        while (handle := int(allocate(books, _OURS, byte_count))) > 0:
            assert handle & layout.LOW_MASK not in lent
            lent[handle & layout.LOW_MASK] = handle
    assert len(lent) > 100, "a stopped process is in nobody's way"
    assert _marks_of(books, _THEIRS) == theirs
    for handle in lent.values():
        assert free(books, _OURS, handle) == 0
    what_if_it_died_here(books, foreign)


def _marks_of(books: Words, holder: int) -> dict[int, int]:
    """All marks that name a holder and count, by where they stand."""
    start, slots_start = int(books[layout.PAGE_MARKS_AT]), int(books[layout.SLOT_MARKS_AT])
    marks = books[start:].astype(np.int64)
    states = marks & layout.STATE_MASK
    heads = states[: int(books[layout.PAGES]) : layout.UNIT_PAGES]
    counts = np.ones(marks.size, np.bool_)
    counts[slots_start - start :] = np.repeat(heads == layout.SLAB, layout.UNIT_GRANULES)
    lent = (states == layout.CACHED) | (states == layout.HELD) | (states == layout.CLAIMED)
    theirs = np.flatnonzero(counts & lent & ((marks & layout.LOW_MASK) >> layout.STATE_BITS == holder))
    return dict(zip(theirs.tolist(), marks[theirs].tolist(), strict=True))


def _start(words: Words, arena: SlabArena, operation: str, foreign_slot: int, foreign_run: int) -> int:
    child = os.fork()
    if child == 0:
        with arena.register() as holder:
            assert holder.index == _THEIRS
            step = getattr(Child(words, foreign_slot, foreign_run), operation)()
            if _ptrace(_TRACEME, 0) < 0:
                os._exit(NOT_ALLOWED)
            os.kill(os.getpid(), signal.SIGSTOP)
            step()
            os._exit(0)
    return child


def main(operation: str) -> int:
    """Steps through the operation; returns an exit status."""
    load(allocate, free, adopt, retire_slabs)
    arena = SlabArena.create(None, bytes_max=1 << 20, holders=2)
    words = arena.words
    holder = arena.register()
    assert holder.index == _OURS
    ours = [int(allocate(words, _OURS, size)) for size in [_SLOT_BYTES] * 5 + [_RUN_BYTES]]
    books = words[: int(words[layout.SLOT_MARKS_AT]) + arena.bytes_max // layout.GRANULE_BYTES]
    foreign = operation in ("adopt", "free_of_another_holder", "free_run_of_another_holder")

    child = _start(words, arena, operation, ours[0], ours[-1])
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        return os.waitstatus_to_exitcode(status)
    instructions = states = 0
    last = np.zeros_like(books)
    while os.WIFSTOPPED(status):
        if not np.array_equal(books, last):
            last = books.copy()
            what_if_it_died_here(books.copy(), foreign)
            what_if_it_stopped_here(books.copy(), foreign)
            states += 1
        instructions += 1
        assert _ptrace(_SINGLESTEP, child) == 0
        _, status = os.waitpid(child, 0)
    print(json.dumps({"instructions": instructions, "states": states}))
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
