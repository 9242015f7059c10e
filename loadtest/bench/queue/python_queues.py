"""Python's queues in the benchmark: ``multiprocessing.Queue``, ``queue.SimpleQueue`` and faster-fifo.

They carry objects, so a record is a ``bytes`` of 64 that the producer makes from its numbered records. A batch is
enqueued by as many calls as the queue's interface needs or, as "packed", as one ``bytes`` of all records, which saves
the queue nearly all work per record. Both are measured because both are used.
"""

import multiprocessing
import queue
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from loadtest.bench.queue.contestant import (
    Cell,
    Contestant,
    Kind,
    Measurement,
    Timing,
    make_samples,
    percentiles,
    running,
)
from loadtest.bench.queue.penstock_queue import python_timer_ns
from loadtest.bench.queue.timed_run import (
    Words,
    back_off,
    check_none_lost,
    keeps_sending,
    make_control,
    number_records,
    record_body_progress,
    report_sent,
    start_producers,
    wait_for_start,
)
from penstock.contract.record import RECORD_BYTES, RECORD_WORDS

try:
    import faster_fifo  # type: ignore[import-not-found,unused-ignore]  # may be missing, see below
except ImportError:  # in the dependency group "bench"
    faster_fifo = None

_CAPACITY: Final = 1 << 16
"""Records that a queue may hold."""
_TAKEN_AT_ONCE: Final = 64


class QueueAdapter(ABC):
    """One queue between producers and the consumer, for one run."""

    @abstractmethod
    def offer(self, item: Any) -> bool:
        """Enqueue what one call takes; returns whether there was room."""

    @abstractmethod
    def take(self) -> list[bytes]:
        """Dequeue what is there, up to some number; may block while producers run."""

    def end_of_records(self) -> None:  # noqa: B027 - most need none
        """Called by a producer after its last record; from then on, all its records arrive without further calls."""

    def takes_lists(self) -> bool:
        """Whether an item may be a list of records."""
        return False


class MultiprocessingAdapter(QueueAdapter):
    """Dequeues by blocking, the fastest way of this queue; so each producer's end is an item of its own."""

    def __init__(self, cell: Cell, item_bytes: int) -> None:
        self._forked = cell.kind == "process"
        self._producers = cell.producers
        self._queue: Any = multiprocessing.get_context("fork").Queue(max(2, _CAPACITY * RECORD_BYTES // item_bytes))

    def offer(self, item: Any) -> bool:
        """See :class:`QueueAdapter`."""
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            return False
        return True

    def take(self) -> list[bytes]:
        """See :class:`QueueAdapter`."""
        items: list[bytes] = []
        while self._producers and len(items) < _TAKEN_AT_ONCE:
            item = self._queue.get()
            if item is None:
                self._producers -= 1
                break
            items.append(item)
        return items

    def end_of_records(self) -> None:
        """See :class:`QueueAdapter`."""
        self._queue.put(None)
        if self._forked:
            self._queue.close()
            self._queue.join_thread()


class SimpleQueueAdapter(QueueAdapter):
    """Between threads only, and without a limit of its own."""

    def __init__(self, cell: Cell, item_bytes: int) -> None:
        assert cell.kind == "thread", "the queue lives in one process"
        self._items_max = max(2, _CAPACITY * RECORD_BYTES // item_bytes)
        self._queue: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def offer(self, item: Any) -> bool:
        """See :class:`QueueAdapter`."""
        if self._queue.qsize() >= self._items_max:
            return False
        self._queue.put(item)
        return True

    def take(self) -> list[bytes]:
        """See :class:`QueueAdapter`."""
        items: list[bytes] = []
        try:
            while len(items) < _TAKEN_AT_ONCE:
                items.append(self._queue.get_nowait())
        except queue.Empty:
            pass
        return items


class FasterFifoAdapter(QueueAdapter):
    """Sends and receives many at a time, and does not pickle what is bytes already."""

    def __init__(self, cell: Cell, item_bytes: int) -> None:  # noqa: ARG002 - its capacity is in bytes
        self._queue: Any = faster_fifo.Queue(max_size_bytes=_CAPACITY * RECORD_BYTES * 2, loads=bytes, dumps=bytes)

    def offer(self, item: Any) -> bool:
        """See :class:`QueueAdapter`."""
        try:
            if isinstance(item, list):
                self._queue.put_many_nowait(item)
            else:
                self._queue.put_nowait(item)
        except queue.Full:
            return False
        return True

    def take(self) -> list[bytes]:
        """See :class:`QueueAdapter`."""
        try:
            items: list[bytes] = self._queue.get_many_nowait()
        except queue.Empty:
            return []
        return items

    def takes_lists(self) -> bool:
        """It has calls for that."""
        return True


class PythonPeer:
    """A queue of Python objects."""

    def __init__(
        self, name: str, adapter: Callable[[Cell, int], QueueAdapter], kinds: tuple[Kind, ...], *, packed: bool
    ) -> None:
        self.name = f"{name}, packed" if packed else name
        self._adapter = adapter
        self._kinds = kinds
        self._packed = packed

    def supports(self, cell: Cell) -> bool:
        """A batch of one has nothing to pack."""
        return cell.kind in self._kinds and not (self._packed and cell.batch == 1)

    def run(self, cell: Cell, timing: Timing) -> Measurement:
        """See :class:`~loadtest.bench.queue.contestant.Contestant`."""
        control = make_control(cell.producers, timing.warmup_s, timing.measured_s)
        samples = make_samples(cell, timing)
        adapter = self._adapter(cell, cell.batch * RECORD_BYTES if self._packed else RECORD_BYTES)

        def work(number: int) -> None:
            self._produce(adapter, cell.batch, control, number, samples[number])

        with running(cell.kind, cell.producers, work):
            _consume(adapter, control)
        return Measurement(check_none_lost(control), percentiles(samples, control, python_timer_ns()))

    def _produce(self, adapter: QueueAdapter, batch: int, control: Words, number: int, samples: Words) -> None:
        records = np.zeros((batch, RECORD_WORDS), np.uint64)
        operations = sent = 0
        wait_for_start(control)
        while keeps_sending(control):
            number_records(records, number, sent)
            for item in self._items(adapter, records.tobytes()):
                if operations % _TAKEN_AT_ONCE == 0 and not keeps_sending(control):
                    break  # within a batch too: 256 slow producers would take a minute to finish theirs
                tries = 0
                while True:
                    began = time.perf_counter_ns()
                    if adapter.offer(item):
                        break
                    back_off(tries)
                    tries += 1
                if samples.size:
                    samples[operations & (samples.size - 1)] = time.perf_counter_ns() - began
                operations += 1
                sent += len(item) if isinstance(item, list) else len(item) // RECORD_BYTES
        adapter.end_of_records()
        report_sent(control, number, sent)

    def _items(self, adapter: QueueAdapter, packed: bytes) -> list[Any]:
        if self._packed or len(packed) == RECORD_BYTES:
            return [packed]
        items = [packed[at : at + RECORD_BYTES] for at in range(0, len(packed), RECORD_BYTES)]
        return [items] if adapter.takes_lists() else items


def _consume(adapter: QueueAdapter, control: Words) -> None:
    tries = 0
    going_on = True
    start_producers(control)
    while going_on:
        body = np.frombuffer(b"".join(adapter.take()), np.uint8)
        count = body.size // RECORD_BYTES
        going_on = record_body_progress(control, body, count)
        if count:
            tries = 0
        else:
            back_off(tries)
            tries += 1


def python_peers() -> list[Contestant]:
    """The queues that are installed, each with records one by one and packed."""
    peers: list[tuple[str, Callable[[Cell, int], QueueAdapter], tuple[Kind, ...]]] = [
        ("multiprocessing.Queue", MultiprocessingAdapter, ("thread", "process")),
        ("queue.SimpleQueue", SimpleQueueAdapter, ("thread",)),
    ]
    if faster_fifo is not None:
        peers.append(("faster-fifo", FasterFifoAdapter, ("thread", "process")))
    return [PythonPeer(*peer, packed=packed) for peer in peers for packed in (False, True)]
