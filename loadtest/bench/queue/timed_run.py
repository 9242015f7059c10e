"""One run of any queue: drives, times and checks it. ``peers/timed_run.hpp`` is the same for the queues in C++.

Producers number their records and send them until told to stop. The consumer starts them, measures for a given time
after a warm-up, tells them to stop, and goes on until it has received everything. Who finds the queue full or empty
pauses a few times and then yields the processor; after a batch of few records a compiled consumer waits for more to
gather. All shared state is in words that forked processes share.
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
    store_relaxed,
    store_release,
)
from txqueue.jit.cpu import pause
from txqueue.jit.decorators import kernel
from txqueue.jit.raw_memory import load_unaligned

Words = NDArray[np.uint64]
Int = int | np.int64

LINE_WORDS: Final = 16
"""Words of two cache lines: what different threads write lies so far apart."""
READY: Final = 0
GO: Final = LINE_WORDS
STOP: Final = 2 * LINE_WORDS
DONE: Final = 3 * LINE_WORDS
# The consumer's.
PRODUCERS: Final = 4 * LINE_WORDS
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
SENT: Final = 5 * LINE_WORDS
"""Records sent, one word for each producer."""

_PRODUCER_SHIFT: Final = 40
_PAUSES: Final = 16
_STALLED_NS: Final = 30_000_000_000


class RecordsLost(Exception):
    """A queue lost, repeated or damaged records, or a producer died; the figures mean nothing."""


@dataclass(frozen=True)
class Throughput:
    """Records that the consumer received in the measured time."""

    records: int
    nanoseconds: int


def shared_words(count: int) -> Words:
    """uint64[count] of zeros that forked processes share."""
    return np.frombuffer(mmap.mmap(-1, max(count, 1) * 8), np.uint64)


def make_control(producers: int, warmup_s: float, measured_s: float) -> Words:
    """The words that the consumer and the producers of a run share: ``control`` in the functions below."""
    control = shared_words(SENT + producers * LINE_WORDS)
    control[PRODUCERS] = producers
    control[WARMUP_NS] = int(warmup_s * 1e9)
    control[MEASURED_NS] = int(measured_s * 1e9)
    return control


def check_none_lost(control: Words) -> Throughput:
    """Compare what was received with what was sent; returns the throughput.

    Raises:
        RecordsLost: they differ.
    """
    sent = [int(control[SENT + number * LINE_WORDS]) for number in range(int(control[PRODUCERS]))]
    expected = sum(count * (number << _PRODUCER_SHIFT) + count * (count - 1) // 2 for number, count in enumerate(sent))
    received = int(control[RECEIVED])
    if int(control[DONE]) != len(sent):
        raise RecordsLost(f"{int(control[DONE])} of {len(sent)} producers finished; the others failed, or still wait")
    if received != sum(sent):
        raise RecordsLost(f"{sum(sent):,} records were sent, {received:,} received")
    if int(control[SUM]) != expected % 2**64:
        raise RecordsLost(f"of {received:,} records some are not those that were sent")
    return Throughput(
        int(control[UNTIL_RECEIVED] - control[FROM_RECEIVED]),
        int(control[UNTIL_AT] - control[FROM_AT]),
    )


@kernel
def wait_for_start(control: Words) -> None:
    """Called by a producer: wait until the consumer starts the run."""
    fetch_add(control, READY, 1)
    while load_acquire(control, GO) == 0:
        sched_yield()


@kernel
def keeps_sending(control: Words) -> bool:
    """Called by a producer: whether to send more."""
    return bool(load_relaxed(control, STOP) == 0)


@kernel
def report_sent(control: Words, number: int, sent: Int) -> None:
    """Called by a producer at its end: report how many records it sent."""
    store_relaxed(control, SENT + number * LINE_WORDS, sent)
    fetch_add(control, DONE, 1)


@kernel
def start_producers(control: Words) -> None:
    """Called by the consumer: start the producers once all are ready, or after 30 s."""
    began = monotonic_ns()
    while load_acquire(control, READY) < control[PRODUCERS] and monotonic_ns() - began < _STALLED_NS:
        sched_yield()
    control[STARTED_AT] = control[LAST_AT] = monotonic_ns()
    store_release(control, GO, 1)


@kernel
def record_progress(control: Words, count: Int, total: int | np.uint64) -> bool:
    """Called by the consumer: record how many records it received since the last call, and the sum of their values.

    Returns:
        Whether to go on receiving.
    """
    all_done = load_acquire(control, DONE) == control[PRODUCERS]
    now = np.uint64(monotonic_ns())
    control[RECEIVED] += np.uint64(count)
    control[SUM] += np.uint64(total)
    if count > 0:
        control[LAST_AT] = now
    if control[FROM_AT] == 0:
        if now >= control[STARTED_AT] + control[WARMUP_NS]:
            control[FROM_AT] = now
            control[FROM_RECEIVED] = control[RECEIVED]
    elif control[UNTIL_AT] == 0:
        if now >= control[FROM_AT] + control[MEASURED_NS]:
            control[UNTIL_AT] = now
            control[UNTIL_RECEIVED] = control[RECEIVED]
            store_release(control, STOP, 1)
    elif all_done and count == 0:
        sent = np.uint64(0)
        for number in range(np.int64(control[PRODUCERS])):
            sent += load_relaxed(control, SENT + number * LINE_WORDS)
        if control[RECEIVED] >= sent:
            return False
    return bool(now - control[LAST_AT] < np.uint64(_STALLED_NS))


@kernel
def back_off(tries: int) -> None:
    """Pause or yield, after so many failed attempts in a row."""
    if tries < _PAUSES:
        pause()
    else:
        sched_yield()


@kernel
def number_records(records: Words, number: int, sent: Int) -> None:
    """Give each record, of uint64[n, 8], a value that no other record of the run has."""
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
def record_body_progress(control: Words, body: NDArray[np.uint8], count: Int) -> bool:
    """:func:`record_progress` for consumers in Python, whose integers a sum modulo 2^64 would not fit."""
    return record_progress(control, count, sum_values(body, count))


@kernel
def time_the_timer(samples: Words) -> None:
    """Fill ``samples`` with the nanoseconds that timing nothing takes."""
    for index in range(samples.size):
        began = monotonic_ns()
        samples[index] = monotonic_ns() - began
