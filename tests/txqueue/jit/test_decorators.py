"""Compiled entries can be loaded by whoever comes first."""

import threading

import numpy as np
from numba import int64
from numpy.typing import NDArray

from tests.txqueue.region.test_fork import holds_in_child
from txqueue.jit.decorators import WORDS, entry, load


@entry(WORDS, int64)
def _first_word_plus(words: NDArray[np.uint64], number: int) -> np.int64:
    return np.int64(words[0]) + number


def test_threads_that_load_one_entry_at_once_all_get_it() -> None:
    together = threading.Barrier(8)
    results: list[int] = []

    def use() -> None:
        together.wait()
        load(_first_word_plus)
        results.append(int(_first_word_plus(np.array([40], np.uint64), 2)))

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [42] * 8


def test_a_fork_waits_for_what_another_thread_compiles() -> None:
    compiling, go_on = threading.Event(), threading.Event()

    class Slow:
        arguments = ()

        def __init__(self) -> None:
            self.overloads: dict[tuple[()], None] = {}

        def compile(self, arguments: tuple[()]) -> None:
            compiling.set()
            go_on.wait(10)
            self.overloads[arguments] = None

        def disable_compile(self) -> None:
            pass

    slow = Slow()
    thread = threading.Thread(target=lambda: load(slow))
    thread.start()
    assert compiling.wait(10)
    forked = threading.Event()

    def fork() -> None:
        def has_it() -> bool:
            load(slow)
            return slow.overloads == {(): None}

        assert holds_in_child(has_it)
        forked.set()

    forker = threading.Thread(target=fork)
    forker.start()
    assert not forked.wait(0.1)
    go_on.set()
    forker.join(10)
    thread.join()
    assert forked.is_set()
