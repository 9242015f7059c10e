"""A single-stepper: runs one operation of an arena in a process that is stopped after every instruction.

Whenever an instruction changed the arena's metadata, copies of it answer two questions: what if the process died here,
and what if it stopped here while others went on. With ``--runs-taken``, the process is stopped once at every
instruction around those, loses all its cached runs to a holder that finds no room, and goes on. Prints how many
instructions and states of the metadata there were.

Usage: python -m tests.models.arena.single_steps OPERATION [--runs-taken]
"""

import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
from numba import types
from numpy.typing import NDArray

from pooling.arena.kernel import layout
from pooling.arena.kernel.operations import adopt, allocate, free, mark_at
from pooling.arena.kernel.recovery import flush_caches, release_holder, retire_slabs
from pooling.arena.slab_arena import SlabArena
from tests.pooling.arena.audit import audit
from txqueue.jit.decorators import WORDS, entry, load

NOT_ALLOWED: Final = 77
"""Exit status where this machine does not let processes be traced."""

_TRACEME: Final = 0
_CONTINUE: Final = 7
_SINGLESTEP: Final = 9
_SLOT_BYTES: Final = 1024
"""64 of these are a slab, and half a magazine."""
_LARGE_SLOT_BYTES: Final = 16384
"""8 of these are a magazine at first."""
_RUN_BYTES: Final = 20_000
_RUN_PAGES: Final = 5
_STOP: Final = int(signal.SIGSTOP)
_RUNS_TAKEN: Final = 3
"""Runs."""
_OURS: Final = 0
"""The holder of this process, which lives on."""
_THEIRS: Final = 1

Words = NDArray[np.uint64]

_libc = ctypes.CDLL(None, use_errno=True)
_raise: Any = types.ExternalFunction("raise", types.int32(types.int32))


def _ptrace(request: int, pid: int) -> int:
    return int(_libc.ptrace(ctypes.c_long(request), ctypes.c_long(pid), None, None))


@entry(WORDS, types.int64, types.int64)
def stop_and_allocate(words: Words, holder: Any, byte_count: Any) -> Any:
    """Stops the process just before the kernel, which it takes thousands of instructions to reach from Python."""
    _raise(_STOP)
    return allocate(words, holder, byte_count)


@entry(WORDS, types.int64, types.int64)
def stop_and_free(words: Words, holder: Any, handle: Any) -> Any:
    """The same for a return."""
    _raise(_STOP)
    return free(words, holder, handle)


@entry(WORDS, types.int64)
def stop_and_flush(words: Words, holder: Any) -> Any:
    """The same for the flush of all caches."""
    _raise(_STOP)
    return flush_caches(words, holder)


class Child:
    """What the process does that is stopped: each operation gets everything ready and returns the step that counts."""

    def __init__(self, words: Words, foreign_slot: int, foreign_run: int) -> None:
        self.words = words
        self.allocate_kernel, self.free_kernel, self.flush_kernel = allocate, free, flush_caches
        self.foreign_slot = foreign_slot
        self.foreign_run = foreign_run
        self.slots = [self.lend(_SLOT_BYTES) for _ in range(layout.MAGAZINE_SLOTS_MAX + 10)]
        self.run = self.lend(_RUN_BYTES)

    def stop_at_kernels(self) -> None:
        """From now on the process stops before each kernel."""
        self.allocate_kernel, self.free_kernel = stop_and_allocate, stop_and_free
        self.flush_kernel = stop_and_flush

    def lend(self, byte_count: int) -> int:
        handle = int(self.allocate_kernel(self.words, _THEIRS, byte_count))
        assert handle > 0
        return handle

    def take_back(self, handle: int) -> None:
        assert self.free_kernel(self.words, _THEIRS, handle) == 0

    def cache_runs(self, *pages: int) -> None:
        """Caches runs of these lengths."""
        for handle in [self.lend(count * layout.PAGE_BYTES) for count in pages]:
            self.take_back(handle)

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
        flush_caches(self.words, _THEIRS)
        return lambda: self.lend(_SLOT_BYTES)

    def grow(self) -> Callable[[], object]:
        slots = [self.lend(_LARGE_SLOT_BYTES) for _ in range(20)]
        for handle in slots:
            self.take_back(handle)
        while int(self.words[_magazine(_LARGE_SLOT_BYTES)]) & layout.TALLY_MASK:
            self.lend(_LARGE_SLOT_BYTES)
        return lambda: self.lend(_LARGE_SLOT_BYTES)

    def cut_slab(self) -> Callable[[], object]:
        return lambda: self.lend(2 * _SLOT_BYTES)  # nobody has any of that size

    def retire_slabs(self) -> Callable[[], object]:
        self.return_slots()
        flush_caches(self.words, _THEIRS)
        return lambda: retire_slabs(self.words, _THEIRS)

    def allocate_run(self) -> Callable[[], object]:
        return lambda: self.lend(_RUN_BYTES)

    def allocate_cached_run(self) -> Callable[[], object]:
        self.cache_runs(_RUN_PAGES, _RUN_PAGES + 1, _RUN_PAGES + 2)
        return lambda: self.lend(_RUN_BYTES)

    def allocate_run_without_room(self) -> Callable[[], object]:
        longer = self.lend((_RUN_PAGES + 1) * layout.PAGE_BYTES)
        while allocate(self.words, _THEIRS, _RUN_BYTES) > 0:
            pass
        self.take_back(longer)
        return lambda: self.lend(_RUN_BYTES)

    def free_run(self) -> Callable[[], object]:
        return lambda: self.take_back(self.run)

    def free_run_with_the_cache_full(self) -> Callable[[], object]:
        self.cache_runs(*[_RUN_PAGES] * layout.RUNS_CACHED_MAX)
        return lambda: self.take_back(self.run)

    def free_run_too_large_to_cache(self) -> Callable[[], object]:
        run = self.lend((layout.RUN_PAGES_CACHED_MAX + 1) * layout.PAGE_BYTES)
        return lambda: self.take_back(run)

    def flush_caches(self) -> Callable[[], object]:
        while int(self.words[_magazine()]) & layout.TALLY_MASK:
            self.lend(_SLOT_BYTES)
        self.cache_runs(_RUN_PAGES, _RUN_PAGES + 1)
        return lambda: self.flush_kernel(self.words, _THEIRS)

    def free_run_of_another_holder(self) -> Callable[[], object]:
        return lambda: self.take_back(self.foreign_run)

    def recover(self) -> Callable[[], object]:
        self.return_slots(kept=10)
        flush_caches(self.words, _THEIRS)
        self.lend(_SLOT_BYTES)
        self.cache_runs(_RUN_PAGES)
        return lambda: release_holder(self.words, _THEIRS)


def _magazine(slot_bytes: int = _SLOT_BYTES) -> int:
    size_class = (slot_bytes // layout.GRANULE_BYTES).bit_length()
    magazines = layout.HOLDERS_AT + _THEIRS * layout.HOLDER_WORDS + layout.MAGAZINES
    return magazines + (size_class - 1) * layout.MAGAZINE_WORDS


def what_if_it_died_here(metadata: Words, foreign: bool, lent: int = 6) -> None:
    """Once recovered, everything is free but what we hold; the dead may have taken over or returned one of that."""
    release_holder(metadata, _THEIRS)
    found = audit(metadata)
    assert set(found.lent) | set(found.cached) == {_OURS}, "nothing is the dead one's"
    assert found.lent[_OURS] == lent or (foreign and found.lent[_OURS] == lent - 1)
    flush_caches(metadata, _OURS)
    retire_slabs(metadata, _OURS)
    needed_pages = layout.CHUNK_PAGES + found.lent_runs * _RUN_PAGES
    assert audit(metadata).free_pages == int(metadata[layout.PAGES]) - needed_pages, "not a page is leaked"


def what_if_it_stopped_here(metadata: Words, foreign: bool, roomy: bool) -> None:
    """We go on and take all that we can get: nothing twice, and nothing of the stopped process but its cached runs. It
    may die later.
    """
    theirs = _marks_of(metadata, _THEIRS)
    lent: dict[int, int] = {}
    for byte_count in (_SLOT_BYTES, _RUN_BYTES):
        while (handle := int(allocate(metadata, _OURS, byte_count))) > 0:
            assert handle & layout.LOW_MASK not in lent
            lent[handle & layout.LOW_MASK] = handle
    assert len(lent) > (100 if roomy else 50), "a stopped process is in nobody's way"
    assert _marks_of(metadata, _THEIRS) == theirs
    for handle in lent.values():
        assert free(metadata, _OURS, handle) == 0
    what_if_it_died_here(metadata, foreign)


def _marks_of(metadata: Words, holder: int) -> dict[int, int]:
    """All marks that name a holder and count, by offset, but for those of cached runs."""
    start, slots_start = int(metadata[layout.PAGE_MARKS_AT]), int(metadata[layout.SLOT_MARKS_AT])
    marks = metadata[start:].astype(np.int64)
    states = marks & layout.STATE_MASK
    heads = states[: int(metadata[layout.PAGES]) : layout.CHUNK_PAGES]
    counts = np.ones(marks.size, np.bool_)
    counts[slots_start - start :] = np.repeat(heads == layout.SLAB, layout.CHUNK_GRANULES)
    lent = (states == layout.CACHED) | (states == layout.LENT) | (states == layout.CLAIMED)
    lent[: int(metadata[layout.PAGES])] &= states[: int(metadata[layout.PAGES])] != layout.CACHED
    theirs = np.flatnonzero(counts & lent & ((marks & layout.LOW_MASK) >> layout.STATE_BITS == holder))
    return dict(zip(theirs.tolist(), marks[theirs].tolist(), strict=True))


def _start(world: "Arena") -> int:
    process = os.fork()
    if process == 0:
        with world.arena.register() as holder:
            assert holder.index == _THEIRS
            child = Child(world.words, world.ours[0], world.ours[-1])
            step = getattr(child, world.operation)()
            if _ptrace(_TRACEME, 0) < 0:
                os._exit(NOT_ALLOWED)
            if world.at_kernel:
                child.stop_at_kernels()
            else:
                os.kill(os.getpid(), signal.SIGSTOP)
            try:
                step()
            except AssertionError:  # a traceback would be many instructions
                os._exit(1)
            os._exit(0)
    return process


class Arena:
    """An arena of two holders, of which we are one, and the other one's process is stepped through an operation."""

    def __init__(self, operation: str, at_kernel: bool) -> None:
        self.operation = operation
        self.at_kernel = at_kernel  # whether the process begins where it enters the kernel
        self.arena = SlabArena.create(None, bytes_max=1 << 20, holders=2)
        self.words = self.arena.words
        self.holder = self.arena.register()
        assert self.holder.index == _OURS
        self.ours = [int(allocate(self.words, _OURS, size)) for size in [_SLOT_BYTES] * 5 + [_RUN_BYTES]]
        self.metadata = self.words[
            : int(self.words[layout.SLOT_MARKS_AT]) + self.arena.bytes_max // layout.GRANULE_BYTES
        ]

    @contextmanager
    def process(self) -> Iterator[int]:
        """The process, about to begin; it is gone afterwards."""
        child = _start(self)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            sys.exit(os.waitstatus_to_exitcode(status))
        try:
            yield child
        except BaseException:
            os.kill(child, signal.SIGKILL)
            raise


def _step(child: int) -> int:
    """Lets the process do one instruction; returns its status."""
    assert _ptrace(_SINGLESTEP, child) == 0
    return os.waitpid(child, 0)[1]


def stop_everywhere(world: Arena, ask: Callable[[Words], object]) -> tuple[list[int], int]:
    """Steps through the operation, and asks about each new state of the metadata.

    Returns:
        The instructions before which the metadata were new, and how many instructions there were.
    """
    news, instructions, status = [], 0, 0x7F
    last = np.zeros_like(world.metadata)
    with world.process() as child:
        while os.WIFSTOPPED(status):
            if not np.array_equal(world.metadata, last):
                last = world.metadata.copy()
                ask(last)
                news.append(instructions)
            instructions += 1
            status = _step(child)
    assert os.waitstatus_to_exitcode(status) == 0
    return news, instructions


def take_runs_everywhere(world: Arena, instructions: int) -> None:
    """Lets somebody find no room while the process is before each of its first instructions; then it may go on."""
    for instruction in range(instructions):
        with world.process() as child:
            for _ in range(instruction):
                _step(child)
            assert allocate(world.words, _OURS, world.arena.bytes_max) < 0
            runs_taken = [int(allocate(world.words, _OURS, _RUN_BYTES)) for _ in range(_RUNS_TAKEN)]
            assert _ptrace(_CONTINUE, child) == 0
            _, ended = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(ended) == 0
        what_if_it_died_here(world.metadata.copy(), foreign=False, lent=len(world.ours) + _RUNS_TAKEN)
        for handle in runs_taken:
            at = int(mark_at(world.words, handle))
            assert int(world.words[at]) == handle & layout.STAMP_MASK | _OURS << layout.STATE_BITS | layout.LENT
            assert free(world.words, _OURS, handle) == 0
        release_holder(world.words, _THEIRS)
        flush_caches(world.words, _OURS)
        retire_slabs(world.words, _OURS)


def main(operation: str, runs_taken: bool) -> int:
    """Steps through the operation; returns an exit status."""
    load(allocate, free, adopt, retire_slabs, mark_at, stop_and_allocate, stop_and_free, stop_and_flush)
    world = Arena(operation, at_kernel=runs_taken)
    foreign = operation in ("adopt", "free_of_another_holder", "free_run_of_another_holder")
    roomy = operation != "allocate_run_without_room"

    def ask(metadata: Words) -> None:
        what_if_it_died_here(metadata.copy(), foreign)
        what_if_it_stopped_here(metadata.copy(), foreign, roomy)

    news, instructions = stop_everywhere(world, ask)
    if runs_taken:
        release_holder(world.words, _THEIRS)
        take_runs_everywhere(world, news[-1] + 1)
    print(json.dumps({"instructions": instructions, "states": len(news)}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], "--runs-taken" in sys.argv[2:]))
