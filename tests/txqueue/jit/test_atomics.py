"""The atomics do what they say, by the instructions they should."""

import platform
import re
from typing import Any

import numpy as np
import pytest
from numba import njit, types
from numba.core.errors import TypingError

from txqueue.jit import atomics, cpu, raw_memory
from txqueue.jit.decorators import BYTES, WORDS
from txqueue.ring import dequeue as ring_consumer
from txqueue.ring import ring

only_on_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="reads x86 machine code")


@njit
def exercise(words: Any, octets: Any) -> Any:
    atomics.store_release(words, 0, 5)
    atomics.store_relaxed(words, 1, 7)
    atomics.store_seq_cst(words, 2, 9)
    swapped = atomics.cas(words, 0, 5, 6)
    not_swapped = atomics.cas(words, 0, 5, 8)
    before = atomics.fetch_add(words, 1, 3)
    atomics.fence()
    cpu.pause()
    raw_memory.prefetch(words, 1 << 40)
    raw_memory.prefetch(octets, 3)
    raw_memory.prefetch_to_write(words, 1 << 40)
    raw_memory.copy_bytes(octets, 3, words, 0, 24)
    unaligned = raw_memory.load_unaligned(octets, 11)
    loads = (atomics.load_relaxed(words, 0), atomics.load_acquire(words, 1), atomics.load_seq_cst(words, 2))
    return swapped, not_swapped, before, loads, unaligned


def machine_code(function: Any, *arguments: Any) -> str:
    """The function's own code, without the wrappers for calls from Python. Compiled anew: a cache keeps no assembly."""
    compiler: Any = njit
    compiled = compiler([arguments], nogil=True, _nrt=False)(function.py_func)
    assembly: str = next(iter(compiled.inspect_asm().values()))
    return re.sub(r"[\t ]+", " ", assembly[: assembly.index("_ZN7cpython")])


def test_each_operation_has_its_effect() -> None:
    words, octets = np.zeros(8, np.uint64), np.zeros(64, np.uint8)
    assert exercise(words, octets) == (True, False, 7, (6, 10, 9), 10)
    np.testing.assert_array_equal(octets[3:27].view(np.uint8), words[:3].view(np.uint8))


@only_on_x86
def test_operations_are_single_instructions() -> None:
    code = machine_code(exercise, WORDS, BYTES)
    for instruction in ("lock cmpxchgq", "lock xaddq", "xchgq", "prefetcht0", "prefetchw", "pause"):
        assert instruction in code
    assert set(symbols(code)) <= {"memcpy"}, "an atomic became a library call"


@only_on_x86
def test_publishing_is_two_compare_and_swaps_and_calls_nothing() -> None:
    code = machine_code(ring.publish, WORDS, types.int64, types.int64)
    assert code.count("lock cmpxchgq") >= 2
    assert "call" not in code


@only_on_x86
def test_a_producer_sends_ahead_for_the_lines_that_it_will_write() -> None:
    for function, arguments in ((ring.claim, 3), (ring.publish, 2)):
        assert "prefetchw" in machine_code(function, WORDS, *(types.int64,) * arguments)


@only_on_x86
def test_dequeuing_calls_only_its_own_parts_and_memcpy() -> None:
    code = machine_code(ring_consumer.dequeue, *ring_consumer.dequeue.arguments)  # type: ignore[attr-defined]
    assert "lock cmpxchgq" in code
    assert all(name == "memcpy" or name.startswith("_ZN7txqueue") for name in symbols(code))


def symbols(code: str) -> list[str]:
    """What the code takes the address of: everything that it calls, and its constants."""
    return [name for name in re.findall(r"\$([A-Za-z_]\w*)", code) if not name.startswith("_ZL")]


@pytest.mark.parametrize(
    "wrong", [np.zeros(4, np.int64), np.zeros(4, np.uint32), np.zeros(8, np.uint64)[::2], np.zeros((2, 2), np.float64)]
)
def test_only_contiguous_words_are_accepted(wrong: Any) -> None:
    @njit
    def load(words: Any) -> Any:
        return atomics.load_acquire(words, 0)

    with pytest.raises(TypingError, match="uint64 array"):
        load(wrong)


def test_copying_refuses_to_write_to_a_read_only_array() -> None:
    @njit
    def copy(to: Any, source: Any) -> None:
        raw_memory.copy_bytes(to, 0, source, 0, 8)

    with pytest.raises(TypingError, match="read-only"):
        copy(np.frombuffer(bytes(8), np.uint8), np.zeros(8, np.uint8))
