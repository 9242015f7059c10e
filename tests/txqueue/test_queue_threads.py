"""Many producer threads and one consumer: nothing lost, repeated, torn or out of a producer's order."""

import sys
import threading
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import numpy as np
import pytest
from numba import njit
from numpy.typing import NDArray

from tests.txqueue.frames import FrameReceiver, assert_whole, make
from tests.txqueue.region.test_fork import holds_in_child
from txqueue.errors import QueueClosed, QueueFull
from txqueue.jit.cpu import pause
from txqueue.queue import LockFreeTxQueue
from txqueue.region.futex import yield_processor
from txqueue.ring import layout, ring

TOKEN_BITS = 32


@njit(nogil=True, error_model="numpy")
def produce(words: NDArray[np.uint64], producer: int, frames: int, records_max: int, payload_max: int) -> None:
    """Publishes frames of varying size, of which every third claim is aborted first; contents follow from the token."""
    for number in range(frames):
        records = 1 + number % records_max
        payload_bytes = (number * 7) % (payload_max + 1)
        token = producer << TOKEN_BITS | number
        for _ in range(2 if number % 3 == 0 else 1):
            first = ring.claim(words, producer, records, payload_bytes)
            while first < 0:
                pause()
                first = ring.claim(words, producer, records, payload_bytes)
            words[first] = 99
        for word in range(records * 8 + (payload_bytes + 7) // 8):
            words[first + word] = token * 31 + word
        ring.publish(words, producer, token)


@njit(nogil=True)
def count_wrong(body: NDArray[np.uint8], rows: NDArray[np.uint64], total: int) -> int:
    """Bytes of a batch that are not what ``produce`` wrote for their token."""
    wrong = 0
    payload_at = np.int64(total * 64)
    for row in range(rows.shape[0]):
        token = np.int64(rows[row, 0])
        record_bytes = np.int64(rows[row, 2]) * 64
        payload_bytes = np.int64(rows[row, 3])
        for byte in range(record_bytes + payload_bytes):
            at = np.int64(rows[row, 1]) * 64 + byte if byte < record_bytes else payload_at + byte - record_bytes
            wrong += body[at] != ((token * 31 + (byte >> 3)) >> ((byte & 7) * 8)) & 255
        payload_at += payload_bytes
    return wrong


@pytest.fixture
def switching_often() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.parametrize(
    ("threads", "frames", "records_max", "payload_max", "capacity"),
    [
        (1, 20_000, 3, 100, {"slots": 4, "producers": 2, "buffer_bytes": 512}),
        (2, 50_000, 40, 0, {}),
        (4, 20_000, 5, 300, {"slots": 8, "producers": 4, "buffer_bytes": 2048}),
        pytest.param(
            *(16, 5_000, 20, 50, {"slots": 32, "producers": 16, "buffer_bytes": 16384}), marks=pytest.mark.slow
        ),
        (256, 200, 10, 10, {"slots": 1 << 16, "producers": 256, "buffer_bytes": 1 << 18}),
    ],
)
def test_every_frame_arrives_once_whole_and_in_its_producers_order(
    threads: int, frames: int, records_max: int, payload_max: int, capacity: dict[str, Any]
) -> None:
    with LockFreeTxQueue.create(None, **capacity) as queue:
        producers = [queue.register() for _ in range(threads)]
        workers = [
            threading.Thread(
                target=produce, args=(queue.words, producer.index, frames, records_max, payload_max), daemon=True
            )
            for producer in producers
        ]
        receiver = FrameReceiver(queue)
        expected = dict.fromkeys((producer.index for producer in producers), 0)
        for worker in workers:
            worker.start()
        deadline = time.monotonic() + 60
        remaining = threads * frames
        while remaining:
            assert time.monotonic() < deadline, f"{remaining} frames are missing"
            batch = queue.dequeue_exclusive_batch(receiver.body, receiver.rows)
            rows = receiver.rows[: batch.frames]
            assert count_wrong(receiver.body, rows, batch.count) == 0
            for token in rows[:, 0].tolist():
                producer = token >> TOKEN_BITS
                assert token & ((1 << TOKEN_BITS) - 1) == expected[producer]
                expected[producer] += 1
            remaining -= batch.frames
            if not batch.frames:
                queue.wait(0.001)
        for worker in workers:
            worker.join()
        assert receiver.receive() == []
        metrics = queue.get_queue_metrics()
        assert metrics.frames_dequeued == metrics.frames_enqueued == threads * frames
        assert metrics.size == 0
        for held in producers:
            held.close()


@pytest.mark.usefixtures("switching_often")
def test_each_thread_gets_a_producer_of_its_own_and_gives_it_back() -> None:
    with LockFreeTxQueue.create(None, slots=64, producers=8) as queue:
        receiver = FrameReceiver(queue)
        for _ in range(5):
            numbers = count()

            def work(numbers: Iterator[int] = numbers) -> None:
                for _ in range(200):
                    frame = make(next(numbers), 2, 5)
                    while True:
                        try:
                            queue.enqueue(frame.records, frame.payloads, frame.token)
                            break
                        except QueueFull:
                            yield_processor()

            workers = [threading.Thread(target=work) for _ in range(8)]
            for worker in workers:
                worker.start()
            tokens: list[int] = []
            while len(tokens) < 1600:
                for frame in receiver.receive():
                    assert_whole(frame)
                    tokens.append(frame.token)
                queue.wait(0.01)
            for worker in workers:
                worker.join()
            assert sorted(tokens) == list(range(1600))
        del workers, worker
        assert queue.get_queue_metrics().producers == 0


def test_a_parked_consumer_wakes_for_every_frame() -> None:
    rounds = 300
    with LockFreeTxQueue.create(None) as queue:
        latencies_s: list[float] = []
        ready = threading.Semaphore(0)

        def work() -> None:
            for token in range(rounds):
                ready.acquire()
                while token % 2 and queue.words[layout.PARKED] == layout.AWAKE:
                    yield_processor()
                queue.enqueue(make(token, 1).records, token=time.monotonic_ns())

        worker = threading.Thread(target=work)
        worker.start()
        receiver = FrameReceiver(queue)
        for _ in range(rounds):
            ready.release()
            assert queue.wait(10), "a wake was lost"
            (frame,) = receiver.receive()
            latencies_s.append((time.monotonic_ns() - frame.token) * 1e-9)
        worker.join()
        assert queue.get_queue_metrics().parks > 0
        assert np.median(latencies_s) < 0.001


def test_waiting_for_nothing_costs_no_processor_time() -> None:
    with LockFreeTxQueue.create(None) as queue:
        queue.wait(0)
        began_s, used_s = time.monotonic(), time.thread_time()
        assert not queue.wait(0.3)
        assert time.monotonic() - began_s >= 0.29
        assert time.thread_time() - used_s < 0.01


def test_a_wake_ends_the_present_wait_or_else_the_next() -> None:
    with LockFreeTxQueue.create(None) as queue:
        queue.wake()
        began_s = time.monotonic()
        assert not queue.wait(10)
        timer = threading.Timer(0.05, queue.wake)
        timer.start()
        assert not queue.wait(10)
        assert time.monotonic() - began_s < 5
        timer.join()


def test_what_a_thread_local_object_enqueues_in_a_child_is_refused() -> None:
    local, ready, forked = threading.local(), threading.Event(), threading.Event()
    refused, frame = [], make(1, 1)

    with LockFreeTxQueue.create(None, slots=64, producers=2, buffer_bytes=4096) as queue:

        class Batch:
            def __init__(self) -> None:
                self.producer = queue.register()

            def __del__(self) -> None:
                try:
                    self.producer.enqueue(frame.records, token=1)
                except QueueClosed:
                    refused.append(True)

        def use() -> None:
            local.batch = Batch()
            ready.set()
            forked.wait(10)

        thread = threading.Thread(target=use)
        thread.start()
        assert ready.wait(10)
        assert holds_in_child(lambda: refused == [True])
        assert not queue.wait(0)
        forked.set()
        thread.join()
        assert queue.wait(0)
        assert refused == []
