"""How one run of a queue is driven, timed and checked, whichever queue it is; ``peers/course.hpp`` is its C++ twin.

Producers number their records and send them until told to stop. The consumer starts them, measures after a warm-up for
so long, tells them to stop, and goes on until it has received what they sent. Whoever finds the queue full or empty
pauses a few times and then yields the processor; after a batch of few records a compiled consumer lets more gather.
Everything shared stands in words that forked processes share.
"""

import mmap
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadtest.bench.posix_calls import monotonic_ns, sched_yield
from penstock.contract.record import RECORD_BYTES, WORD_SEQUENCE
from txqueue.jit.atomics import (
    fetch_add,
    load_acquire,
    load_relaxed,
    load_unaligned,
    pause,
    store_relaxed,
    store_release,
)
from txqueue.jit.decorators import kernel

Words = NDArray[np.uint64]
Int = int | np.int64

APART: Final = 16
"""Words between two that different threads write."""
READY: Final = 0
GO: Final = APART
STOP: Final = 2 * APART
DONE: Final = 3 * APART
# The consumer's.
PRODUCERS: Final = 4 * APART
WARMUP_NS: Final = PRODUCERS + 1
MEASURED_NS: Final = PRODUCERS + 2
RECEIVED: Final = PRODUCERS + 3
SUM: Final = PRODUCERS + 4
STARTED_AT: Final = PRODUCERS + 5
LAST_AT: Final = PRODUCERS + 6
FROM_AT: Final = PRODUCERS + 7
FROM_RECEIVED: Final = PRODUCERS + 8
UNTIL_AT: Final = PRODUCERS + 9
UNTIL_RECEIVED: Final = PRODUCERS + 10
SENT: Final = 5 * APART
"""Records sent, one word for each producer."""

_PRODUCER_SHIFT: Final = 40
_PAUSES: Final = 16
_STALLED_NS: Final = 30_000_000_000


class RecordsLost(Exception):
    """A queue lost, repeated or damaged records, or a producer died. Its figures are worth nothing."""


@dataclass(frozen=True)
class Measured:
    """What the consumer received in the measured window."""

    records: int
    nanoseconds: int


def shared_words(count: int) -> Words:
    """uint64[count] of zeros that forked processes share."""
    return np.frombuffer(mmap.mmap(-1, max(count, 1) * 8), np.uint64)


def make_course(producers: int, warmup_s: float, measured_s: float) -> Words:
    """The words that the functions below call ``course``."""
    course = shared_words(SENT + producers * APART)
    course[PRODUCERS] = producers
    course[WARMUP_NS] = int(warmup_s * 1e9)
    course[MEASURED_NS] = int(measured_s * 1e9)
    return course


def check(course: Words) -> Measured:
    """Compares what was received with what was sent.

    Raises:
        RecordsLost: they differ.
    """
    sent = [int(course[SENT + number * APART]) for number in range(int(course[PRODUCERS]))]
    expected = sum(count * (number << _PRODUCER_SHIFT) + count * (count - 1) // 2 for number, count in enumerate(sent))
    received = int(course[RECEIVED])
    if int(course[DONE]) != len(sent):
        raise RecordsLost(f"{int(course[DONE])} of {len(sent)} producers finished; the others failed, or still wait")
    if received != sum(sent):
        raise RecordsLost(f"{sum(sent):,} records were sent, {received:,} received")
    if int(course[SUM]) != expected % 2**64:
        raise RecordsLost(f"of {received:,} records some are not those that were sent")
    return Measured(
        int(course[UNTIL_RECEIVED] - course[FROM_RECEIVED]),
        int(course[UNTIL_AT] - course[FROM_AT]),
    )


@kernel
def line_up(course: Words) -> None:
    """A producer waits here for the consumer's start."""
    fetch_add(course, READY, 1)
    while load_acquire(course, GO) == 0:
        sched_yield()


@kernel
def goes_on(course: Words) -> bool:
    """Whether a producer is to send more."""
    return bool(load_relaxed(course, STOP) == 0)


@kernel
def finish(course: Words, number: int, sent: Int) -> None:
    """A producer says how many records it sent, all of which can be received now or soon."""
    store_relaxed(course, SENT + number * APART, sent)
    fetch_add(course, DONE, 1)


@kernel
def start(course: Words) -> None:
    """The consumer starts the producers, once all have lined up; or gives up on them."""
    began = monotonic_ns()
    while load_acquire(course, READY) < course[PRODUCERS] and monotonic_ns() - began < _STALLED_NS:
        sched_yield()
    course[STARTED_AT] = course[LAST_AT] = monotonic_ns()
    store_release(course, GO, 1)


@kernel
def account(course: Words, count: Int, total: int | np.uint64) -> bool:
    """The consumer's progress: records received since the last call, and the sum of their values.

    Returns:
        Whether to go on receiving.
    """
    all_done = load_acquire(course, DONE) == course[PRODUCERS]
    now = np.uint64(monotonic_ns())
    course[RECEIVED] += np.uint64(count)
    course[SUM] += np.uint64(total)
    if count > 0:
        course[LAST_AT] = now
    if course[FROM_AT] == 0:
        if now >= course[STARTED_AT] + course[WARMUP_NS]:
            course[FROM_AT] = now
            course[FROM_RECEIVED] = course[RECEIVED]
    elif course[UNTIL_AT] == 0:
        if now >= course[FROM_AT] + course[MEASURED_NS]:
            course[UNTIL_AT] = now
            course[UNTIL_RECEIVED] = course[RECEIVED]
            store_release(course, STOP, 1)
    elif all_done and count == 0:
        sent = np.uint64(0)
        for number in range(np.int64(course[PRODUCERS])):
            sent += load_relaxed(course, SENT + number * APART)
        if course[RECEIVED] >= sent:
            return False
    return bool(now - course[LAST_AT] < np.uint64(_STALLED_NS))


@kernel
def back_off(tries: int) -> None:
    """What to do after so many vain tries in a row."""
    if tries < _PAUSES:
        pause()
    else:
        sched_yield()


@kernel
def number_records(records: Words, number: int, sent: Int) -> None:
    """Gives each record, of uint64[n, 8], a value that no other record of the run has."""
    for index in range(records.shape[0]):
        records[index, WORD_SEQUENCE] = (number << _PRODUCER_SHIFT) + sent + index


@kernel
def sum_values(body: NDArray[np.uint8], count: Int) -> np.uint64:
    """The sum of the values of the first records in uint8[m], modulo 2^64."""
    total = np.uint64(0)
    for index in range(count):
        total += load_unaligned(body, index * RECORD_BYTES + WORD_SEQUENCE * 8)
    return total


@kernel
def account_body(course: Words, body: NDArray[np.uint8], count: Int) -> bool:
    """As :func:`account`, for consumers in Python: a sum of 64 bits does not survive the way through its integers."""
    return account(course, count, sum_values(body, count))


@kernel
def time_the_timer(samples: Words) -> None:
    """Nanoseconds that timing nothing takes."""
    for index in range(samples.size):
        began = monotonic_ns()
        samples[index] = monotonic_ns() - began
