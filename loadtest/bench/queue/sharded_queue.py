"""Sharded queue in the benchmark: a ring for each producer and one consumer for all, without an order between rings.

It is not a part of the product; this measurement is why.
"""

from contextlib import ExitStack
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadtest.bench.queue.contestant import Cell, Measurement, Timing, make_samples, percentiles, running
from loadtest.bench.queue.penstock_queue import POLLS_PER_CLOCK, make_queue, make_receive_buffers, produce, timer_ns
from loadtest.bench.queue.timed_run import (
    Words,
    back_off,
    check_none_lost,
    make_control,
    record_progress,
    start_producers,
    sum_values,
)
from penstock.contract.limits import BATCH_SIZE
from txqueue.consumer import Consumer
from txqueue.jit.decorators import kernel
from txqueue.ring import dequeue as ring_consumer
from txqueue.ring.polling import pause_after_small_batch

_RINGS_MAX: Final = 4
"""Each number of rings is compiled separately."""


class ShardedPenstockQueue:
    """As :class:`~loadtest.bench.queue.penstock_queue.CompiledPenstockQueue`, but no two producers share anything."""

    name = "penstock, a ring each"

    def supports(self, cell: Cell) -> bool:
        """A few producers: more than there are processors do not run at the same time anyway."""
        return 2 <= cell.producers <= _RINGS_MAX

    def run(self, cell: Cell, timing: Timing) -> Measurement:
        """See :class:`~loadtest.bench.queue.contestant.Contestant`."""
        control = make_control(cell.producers, timing.warmup_s, timing.measured_s)
        samples = make_samples(cell, timing)
        with ExitStack() as stack:
            queues = [stack.enter_context(make_queue(cell)) for _ in range(cell.producers)]

            def work(number: int) -> None:
                produce(queues[number], cell.batch, control, number, samples[number])

            with running(cell.kind, cell.producers, work):
                consumers = [Consumer(queue.words) for queue in queues]
                for consumer in consumers:
                    consumer.claim(by_force=False)
                regions = tuple(queue.words for queue in queues)
                _consume(regions, tuple(consumer.state for consumer in consumers), *make_receive_buffers(), control)
                for consumer in consumers:
                    consumer.resign()
        return Measurement(check_none_lost(control), percentiles(samples, control, timer_ns()))


@kernel
def _consume(
    regions: tuple[Words, ...], kept: tuple[Words, ...], body: NDArray[np.uint8], frames: Words, control: Words
) -> None:
    tries = 0
    going_on = True
    start_producers(control)
    while going_on:
        count = np.int64(0)
        total = np.uint64(0)
        for _ in range(POLLS_PER_CLOCK):
            round_count = np.int64(0)
            for ring in range(len(regions)):
                taken, more, _ = ring_consumer.dequeue(regions[ring], kept[ring], body, frames, BATCH_SIZE)
                assert taken >= 0, "there is one consumer, and its body holds any batch"
                round_count += more
                total += sum_values(body, more)
            if round_count == 0:
                break
            count += round_count
            pause_after_small_batch(round_count)
        going_on = record_progress(control, count, total)
        if count > 0:
            tries = 0
        else:
            back_off(tries)
            tries += 1
