"""Runs threads in turns of one line each, in an order that the test chooses: every interleaving can be played."""

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any


class _Turns:
    """One thread runs at a time: the schedule says which is next, and each in turn where it has ended."""

    def __init__(self, count: int, schedule: Sequence[int]) -> None:
        self._schedule = list(schedule)
        self._choice = 0
        self._alive = list(range(count))
        self._gates = [threading.Semaphore(0) for _ in range(count)]
        self._done = threading.Event()

    def begin(self) -> None:
        self._grant()
        assert self._done.wait(10), "the threads wait for each other"

    def await_turn(self, me: int) -> None:
        self._gates[me].acquire()

    def pause(self, me: int) -> None:
        self._grant()
        self.await_turn(me)

    def end(self, me: int) -> None:
        self._alive.remove(me)
        if self._alive:
            self._grant()
        else:
            self._done.set()

    def _grant(self) -> None:
        # In turn at the end: one that waits for another must not be chosen for ever.
        self._choice = self._schedule.pop(0) if self._schedule else self._choice + 1
        self._gates[self._alive[self._choice % len(self._alive)]].release()


class _TurnLock:
    """Stands in for a lock: who finds it held lets the others go on."""

    def __init__(self) -> None:
        self._held = False

    def __enter__(self) -> None:
        while self._held:
            _turns.turns.pause(_turns.me)
        self._held = True

    def __exit__(self, *_: object) -> None:
        self._held = False


class _Mine(threading.local):
    turns: _Turns
    me: int


_turns = _Mine()


def turn_lock() -> Any:
    return _TurnLock()


def interleave(file: str, schedule: Sequence[int], *functions: Callable[[], None]) -> None:
    """Run each function in a thread; before each line of ``file`` the schedule's next number says who goes on."""
    turns = _Turns(len(functions), schedule)
    errors: list[BaseException] = []

    def run(me: int, function: Callable[[], None]) -> None:
        def trace(frame: FrameType, event: str, _: Any) -> Any:
            if frame.f_code.co_filename != file:
                return None
            if event == "line":
                turns.pause(me)
            return trace

        _turns.turns, _turns.me = turns, me
        turns.await_turn(me)
        sys.settrace(trace)
        try:
            function()
        except BaseException as error:
            errors.append(error)
        finally:
            sys.settrace(None)
            turns.end(me)

    threads = [threading.Thread(target=run, args=(me, function)) for me, function in enumerate(functions)]
    for thread in threads:
        thread.start()
    turns.begin()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def preemptions(lines: int) -> Iterator[list[int]]:
    """Schedules for two threads: one is stopped after each number of lines, up to ``lines``, for each run of the other.

    Few faults need more than that to show (Musuvathi and Qadeer, "Iterative context bounding", 2007).
    """
    for first in (0, 1):
        for before in range(lines):
            for inside in range(2, 2 * lines, 2):
                yield [first] * before + [1 - first] * inside + [first] * lines
