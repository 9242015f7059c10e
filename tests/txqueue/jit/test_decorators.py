"""Compiled entries can be loaded by whoever comes first."""

import threading

import numpy as np
from numba import int64
from numpy.typing import NDArray

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
