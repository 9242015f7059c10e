"""Penstock's queue in the benchmark, driven by compiled loops and by calls from Python."""

import time
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadtest.bench.posix_calls import monotonic_ns
from loadtest.bench.queue.contestant import Cell, Measurement, Timing, make_samples, percentiles, running
from loadtest.bench.queue.timed_run import (
    Words,
    back_off,
    check_none_lost,
    keeps_sending,
    make_control,
    number_records,
    record_body_progress,
    record_progress,
    report_sent,
    start_producers,
    sum_values,
    time_the_timer,
    wait_for_start,
)
from penstock.contract.limits import BATCH_SIZE
from penstock.contract.record import RECORD_BYTES, RECORD_WORDS
from txqueue.consumer import Consumer
from txqueue.errors import QueueFull
from txqueue.jit.decorators import kernel
from txqueue.queue import LockFreeTxQueue
from txqueue.ring import dequeue as ring_consumer
from txqueue.ring import ring
from txqueue.ring.polling import pause_after_small_batch

_FRAMES: Final = 1024
"""The most that one dequeue takes."""
POLLS_PER_CLOCK: Final = 32
"""Dequeues between two readings of the clock."""
_NO_PAYLOADS: Final[NDArray[np.uint8]] = np.empty(0, np.uint8)


def _buffer_bytes(cell: Cell) -> int:
    """Bytes for each producer: fewer where there are many, since the peers' capacity does not grow with them either."""
    two_frames = 2 * (cell.batch + 1) * RECORD_BYTES
    share = (4 << 20) // cell.producers
    return 1 << (max(two_frames, share, 1 << 16) - 1).bit_length()


def make_queue(cell: Cell) -> LockFreeTxQueue:
    """A queue for a cell, its compiled code loaded."""
    queue = LockFreeTxQueue.create(None, producers=max(cell.producers, 2), buffer_bytes=_buffer_bytes(cell))
    queue.register().close()  # loads its compiled code once, here, and not in every process
    return queue


class CompiledPenstockQueue:
    """Producers and consumer are compiled loops around the ring's kernels."""

    name = "penstock"

    def supports(self, cell: Cell) -> bool:  # noqa: ARG002 - it takes any
        """Threads and processes, any number, any batch."""
        return True

    def run(self, cell: Cell, timing: Timing) -> Measurement:
        """See :class:`~loadtest.bench.queue.contestant.Contestant`."""
        control = make_control(cell.producers, timing.warmup_s, timing.measured_s)
        samples = make_samples(cell, timing)
        with make_queue(cell) as queue:

            def work(number: int) -> None:
                produce(queue, cell.batch, control, number, samples[number])

            with running(cell.kind, cell.producers, work):
                consumer = Consumer(queue.words)
                consumer.claim(by_force=False)
                _consume(queue.words, consumer.state, *make_receive_buffers(), control)
                consumer.resign()
        return Measurement(check_none_lost(control), percentiles(samples, control, timer_ns()))


class CalledPenstockQueue:
    """Producers and consumer call the queue's methods from Python, once for each batch."""

    name = "penstock from Python"

    def supports(self, cell: Cell) -> bool:  # noqa: ARG002 - it takes any
        """Threads and processes, any number, any batch."""
        return True

    def run(self, cell: Cell, timing: Timing) -> Measurement:
        """See :class:`~loadtest.bench.queue.contestant.Contestant`."""
        control = make_control(cell.producers, timing.warmup_s, timing.measured_s)
        samples = make_samples(cell, timing)
        with make_queue(cell) as queue:

            def work(number: int) -> None:
                _produce_by_calls(queue, cell.batch, control, number, samples[number])

            with running(cell.kind, cell.producers, work):
                _consume_by_calls(queue, control)
        return Measurement(check_none_lost(control), percentiles(samples, control, python_timer_ns()))


def produce(queue: LockFreeTxQueue, batch: int, control: Words, number: int, samples: Words) -> None:
    """A producer's run, in compiled code."""
    records = np.zeros((batch, RECORD_WORDS), np.uint64)
    with queue.register() as producer:
        _produce(producer.words, producer.index, records, _NO_PAYLOADS, control, number, samples)


def timer_ns() -> float:
    """Overhead of timing an operation in a compiled loop: the median, in nanoseconds."""
    samples = np.zeros(4096, np.uint64)
    time_the_timer(samples)
    return float(np.median(samples))


def python_timer_ns() -> float:
    """Overhead of timing an operation in Python: the median, in nanoseconds."""
    samples = []
    for _ in range(4096):
        began = time.perf_counter_ns()
        samples.append(time.perf_counter_ns() - began)
    return float(np.median(samples))


def make_receive_buffers() -> tuple[NDArray[np.uint8], Words]:
    """The body and the frame table that a consumer dequeues into."""
    return np.zeros(BATCH_SIZE * RECORD_BYTES, np.uint8), np.zeros((_FRAMES, 4), np.uint64)


@kernel
def _produce(
    words: Words,
    producer: int,
    records: Words,
    payloads: NDArray[np.uint8],
    control: Words,
    number: int,
    samples: Words,
) -> None:
    count = records.shape[0]
    timed = samples.size > 0
    sent = np.int64(0)
    operations = np.int64(0)
    wait_for_start(control)
    while keeps_sending(control):
        number_records(records, number, sent)
        tries = 0
        while True:
            began = monotonic_ns() if timed else np.int64(0)
            outcome = ring.enqueue(words, producer, records, payloads, 0)
            if outcome >= 0:
                break
            assert outcome == ring.FULL, "the buffers hold two frames"
            back_off(tries)
            tries += 1
        if timed:
            samples[operations & (samples.size - 1)] = monotonic_ns() - began
            operations += 1
        sent += count
    report_sent(control, number, sent)


@kernel
def _consume(words: Words, kept: Words, body: NDArray[np.uint8], frames: Words, control: Words) -> None:
    tries = 0
    going_on = True
    start_producers(control)
    while going_on:
        count = np.int64(0)
        total = np.uint64(0)
        for _ in range(POLLS_PER_CLOCK):
            taken, more, _ = ring_consumer.dequeue(words, kept, body, frames, BATCH_SIZE)
            assert taken >= 0, "there is one consumer, and its body holds any batch"
            if taken == 0:
                break
            count += more
            total += sum_values(body, more)
            pause_after_small_batch(more)
        going_on = record_progress(control, count, total)
        if count > 0:
            tries = 0
        else:
            back_off(tries)
            tries += 1


def _produce_by_calls(queue: LockFreeTxQueue, batch: int, control: Words, number: int, samples: Words) -> None:
    records = np.zeros((batch, RECORD_WORDS), np.uint64)
    operations = sent = 0
    with queue.register() as producer:
        wait_for_start(control)
        while keeps_sending(control):
            number_records(records, number, sent)
            tries = 0
            while True:
                began = time.perf_counter_ns()
                try:
                    producer.enqueue(records)
                except QueueFull:
                    back_off(tries)
                    tries += 1
                else:
                    break
            if samples.size:
                samples[operations & (samples.size - 1)] = time.perf_counter_ns() - began
                operations += 1
            sent += batch
        report_sent(control, number, sent)


def _consume_by_calls(queue: LockFreeTxQueue, control: Words) -> None:
    body, frames = make_receive_buffers()
    tries = 0
    going_on = True
    start_producers(control)
    while going_on:
        count = queue.dequeue_exclusive_batch(body, frames).count
        going_on = record_body_progress(control, body, count)
        if count:
            tries = 0
        else:
            back_off(tries)
            tries += 1
