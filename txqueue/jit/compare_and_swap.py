"""Compare-and-swap for Python: :func:`txqueue.jit.atomics.cas` as an entry, for what changes hands seldom."""

from numba import types

from txqueue.jit.array_types import Bool, Int, Words
from txqueue.jit.atomics import cas
from txqueue.jit.decorators import WORDS, entry


@entry(WORDS, types.int64, types.uint64, types.uint64)
def compare_and_swap(words: Words, index: Int, expected: Int, desired: Int) -> Bool:
    """Replaces a word that is ``expected`` by ``desired``; returns whether it did. Load it before the first call."""
    return bool(cas(words, index, expected, desired))
