"""The compiler left the kernels' atomic operations in: each of them, with its order, in its loop, as an instruction."""

import functools
import platform
import re
from typing import Final

import numpy as np
import pytest
from numba import njit, types
from numpy.typing import NDArray

from tests.models.ring.machine_code import Atomic, Compiled
from txqueue.jit.decorators import WORDS
from txqueue.ring import dequeue as ring_consumer
from txqueue.ring import polling, ring

only_on_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="reads x86 machine code")

LOAD: Final = "load atomic"
STORE: Final = "store atomic"
CAS: Final = "cmpxchg"


@functools.cache
def publish() -> Compiled:
    return Compiled(ring.publish, WORDS, types.int64, types.int64)


@functools.cache
def claim() -> Compiled:
    return Compiled(ring.claim, WORDS, types.int64, types.int64, types.int64)


@functools.cache
def dequeue() -> Compiled:
    return Compiled(ring_consumer.dequeue, *ring_consumer.dequeue.arguments)  # type: ignore[attr-defined]


@functools.cache
def poll() -> Compiled:
    return Compiled(polling.poll, *polling.poll.arguments)  # type: ignore[attr-defined]


def test_publishing_has_its_operations_with_their_orders() -> None:
    code = publish()
    assert code.count(CAS, "seq_cst") == 4, "help the tail, fill the slot, move the tail, take the consumer's mark"
    assert code.count(LOAD, "acquire") == 3, "TAIL, the slot, HEAD"
    assert code.count(LOAD, "seq_cst") == 1, "PARKED"
    assert code.count(STORE, "release") == 1, "WRITE"


def test_the_loop_of_a_publication_looks_again_at_everything_that_others_change() -> None:
    operations = publish().atomics()
    assert operations.count(Atomic(LOAD, "acquire", repeats=True)) == 3, "TAIL, the slot, HEAD"
    assert operations.count(Atomic(CAS, "seq_cst", repeats=True)) == 2, "help the tail, fill the slot"


def test_a_claim_moves_oldest_before_the_frame_and_swaps_nothing() -> None:
    code = claim()
    assert code.count("fence", "release") >= 1
    assert code.count(LOAD, "acquire") >= 3, "TAIL, HEAD, READ"
    assert code.count(CAS, "seq_cst") == 0


def test_a_dequeue_commits_by_one_compare_and_swap() -> None:
    code = dequeue()
    assert code.count(CAS, "seq_cst") == 1
    assert code.count(STORE, "release") == 1, "READ"
    # The slot; OLDEST, SKIP_FROM and the three words of a header: all of them in loops.
    assert code.atomics().count(Atomic(LOAD, "acquire", repeats=True)) >= 6
    assert Atomic(LOAD, "monotonic", repeats=True) in code.atomics(), "OLDEST, looked at again"


def test_waiting_looks_at_the_slot_in_every_round() -> None:
    operations = poll().atomics()
    assert Atomic(LOAD, "seq_cst", repeats=True) in operations, "the slot"
    assert Atomic(LOAD, "acquire", repeats=True) in operations, "HEAD"
    assert Atomic(LOAD, "monotonic", repeats=True) in operations, "INTERRUPTS"
    assert Atomic(CAS, "seq_cst", repeats=True) in operations, "the mark"


@pytest.mark.parametrize("code", [publish, claim, poll])
def test_kernels_call_no_library(code: "functools._lru_cache_wrapper[Compiled]") -> None:
    assert code().calls() == set()


def test_a_dequeue_calls_nothing_but_memcpy() -> None:
    assert {name.split(".")[1] for name in dequeue().calls()} <= {"memcpy", "memset"}
    assert "memset" not in dequeue().assembly, "small enough to be instructions"


@only_on_x86
def test_compare_and_swaps_are_locked_instructions() -> None:
    assert publish().assembly.count("lock cmpxchgq") == 4
    assert dequeue().assembly.count("lock cmpxchgq") == 1
    assert poll().assembly.count("lock cmpxchgq") >= 2


def test_arm_gets_ordered_instructions_where_x86_needs_none() -> None:
    publishing = publish().for_arm()
    assert len(re.findall(r"\bcasal\b", publishing)) == 4
    assert len(re.findall(r"\bldapr\b|\bldar\b", publishing)) == 4
    assert len(re.findall(r"\bstlr\b", publishing)) == 1
    assert re.search(r"\bdmb\s+ish\b", claim().for_arm())
    dequeuing = dequeue().for_arm()
    assert len(re.findall(r"\bcasal\b", dequeuing)) == 1
    assert len(re.findall(r"\bstlr\b", dequeuing)) == 1
    assert len(re.findall(r"\bldapr\b|\bldar\b", dequeuing)) >= 6


def test_a_plain_load_in_a_loop_is_hoisted_and_noticed() -> None:
    @njit
    def wait(words: NDArray[np.uint64]) -> None:
        while words[0] == 0:
            pass

    assert Compiled(wait, WORDS).atomics() == []
