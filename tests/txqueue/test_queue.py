"""One producer and one consumer in one thread: what goes in comes out, whole, once and in order."""

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.contract.limits import BATCH_SIZE, FRAME_PAYLOAD_BYTES_MAX
from tests.txqueue.frames import Frame, FrameReceiver, assert_whole, make
from txqueue.errors import (
    BodyTooSmall,
    ConsumerBusy,
    FrameTooLarge,
    ProducersExhausted,
    QueueClosed,
    QueueFull,
    RegionError,
    RegionForeign,
)
from txqueue.queue import LockFreeTxQueue
from txqueue.region.region import Region
from txqueue.ring import layout as ring_layout
from txqueue.ring import ring


@pytest.fixture
def queue() -> Iterator[LockFreeTxQueue]:
    with LockFreeTxQueue.create(None) as queue:
        yield queue


def put(queue: LockFreeTxQueue, frame: Frame) -> None:
    queue.enqueue(frame.records, frame.payloads, frame.token)


def test_an_empty_queue_gives_an_empty_batch(queue: LockFreeTxQueue) -> None:
    assert FrameReceiver(queue).receive() == []


def test_records_and_payloads_come_out_in_order(queue: LockFreeTxQueue) -> None:
    sent = [make(token, count, size) for token, (count, size) in enumerate([(3, 100), (1, 0), (40, 1), (2, 64)])]
    for frame in sent:
        put(queue, frame)
    got = FrameReceiver(queue).receive()
    assert [frame.token for frame in got] == [0, 1, 2, 3]
    for frame, original in zip(got, sent, strict=True):
        assert len(frame.records) == len(original.records)
        assert_whole(frame)


def test_read_only_arrays_are_enqueued_by_the_same_machine_code(queue: LockFreeTxQueue) -> None:
    records = np.frombuffer(bytes(64 * 3), np.uint64).reshape(3, 8)
    queue.enqueue(records, np.frombuffer(b"abc", np.uint8))
    compiled: Any = ring.enqueue
    assert len(compiled.signatures) == 1
    assert FrameReceiver(queue).receive()[0].payloads.tobytes() == b"abc"


def test_the_largest_frame_fits_again_and_again(queue: LockFreeTxQueue) -> None:
    receiver = FrameReceiver(queue)
    for token in range(5):
        put(queue, make(token, BATCH_SIZE, FRAME_PAYLOAD_BYTES_MAX))
        (frame,) = receiver.receive()
        assert_whole(frame)


@pytest.mark.parametrize(("count", "payload_bytes"), [(BATCH_SIZE + 1, 0), (1, FRAME_PAYLOAD_BYTES_MAX + 1)])
def test_frames_over_the_limits_are_refused(queue: LockFreeTxQueue, count: int, payload_bytes: int) -> None:
    with pytest.raises(FrameTooLarge, match="split"):
        queue.enqueue(np.zeros((count, 8), np.uint64), np.zeros(payload_bytes, np.uint8))
    assert FrameReceiver(queue).receive() == []


def test_a_frame_larger_than_the_area_is_refused() -> None:
    with LockFreeTxQueue.create(None, slots=4, producers=1, buffer_bytes=1024) as queue:
        put(queue, make(1, 15))
        with pytest.raises(FrameTooLarge, match="buffer of 1024 bytes"):
            put(queue, make(2, 16))


@pytest.mark.parametrize("shape", [(0, 8), (4, 7), (4, 9)])
def test_records_of_another_shape_are_refused(queue: LockFreeTxQueue, shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"uint64\[n, 8\]"):
        queue.enqueue(np.zeros(shape, np.uint64))


@pytest.mark.parametrize(
    "records",
    [
        np.zeros((4, 8), np.int64),
        np.zeros((4, 8), np.uint8),
        np.zeros(8, np.uint64),
        np.zeros((8, 16), np.uint64)[:, ::2],
    ],
)
def test_records_of_another_type_are_refused(queue: LockFreeTxQueue, records: Any) -> None:
    with pytest.raises(TypeError):
        queue.enqueue(records)


def test_a_batch_stops_at_the_limit_but_never_cuts_a_frame(queue: LockFreeTxQueue) -> None:
    for token in range(5):
        put(queue, make(token, 100))
    receiver = FrameReceiver(queue)
    assert len(receiver.receive(limit=250)) == 2
    assert len(receiver.receive(limit=7)) == 1
    assert len(receiver.receive()) == 2


def test_a_batch_holds_at_most_ten_thousand_records_and_four_mebibytes(queue: LockFreeTxQueue) -> None:
    receiver = FrameReceiver(queue)
    for token, count in enumerate([6000, 4000, 1]):
        put(queue, make(token, count))
    assert [frame.token for frame in receiver.receive(limit=1 << 40)] == [0, 1]
    assert [frame.token for frame in receiver.receive()] == [2]
    for token, size in enumerate([3 << 20, 1 << 20, 1]):
        put(queue, make(token, 1, size))
    assert [frame.token for frame in receiver.receive()] == [0, 1]
    assert [frame.token for frame in receiver.receive()] == [2]


def test_a_batch_holds_at_most_as_many_frames_as_there_are_rows(queue: LockFreeTxQueue) -> None:
    for token in range(3):
        put(queue, make(token, 1))
    assert len(FrameReceiver(queue, rows=2).receive()) == 2
    with pytest.raises(ValueError, match=r"uint64\[n, 4\]"):
        queue.dequeue_exclusive_batch(np.zeros(64, np.uint8), np.zeros((0, 4), np.uint64))


def test_a_body_too_small_takes_nothing(queue: LockFreeTxQueue) -> None:
    put(queue, make(1, 2, 10))
    with pytest.raises(BodyTooSmall, match="138 bytes"):
        queue.dequeue_exclusive_batch(np.zeros(137, np.uint8), np.zeros((1, 4), np.uint64))
    assert len(FrameReceiver(queue).receive()) == 1


def test_a_second_consumer_is_refused_until_the_first_has_closed(tmp_path: Path) -> None:
    queue = LockFreeTxQueue.create(path := tmp_path / "ring")
    put(queue, make(1, 1))
    receiver = FrameReceiver(queue)
    assert len(receiver.receive()) == 1
    with LockFreeTxQueue.attach(queue.path) as other, pytest.raises(ConsumerBusy, match="take_over"):
        FrameReceiver(other).receive()
    queue.close()
    with LockFreeTxQueue.attach(path) as other:
        assert FrameReceiver(other).receive() == []


@pytest.mark.parametrize(
    "capacity", [{"slots": 2, "producers": 1, "buffer_bytes": 128}, {"slots": 4, "producers": 3, "buffer_bytes": 256}]
)
def test_the_smallest_rings_work_for_ever(capacity: dict[str, Any]) -> None:
    with LockFreeTxQueue.create(None, **capacity) as queue:
        receiver = FrameReceiver(queue)
        for token in range(300):
            put(queue, make(token, 1))
            with pytest.raises(QueueFull):
                put(queue, make(token, 1))
            (frame,) = receiver.receive()
            assert frame.token == token
            assert_whole(frame)
        assert queue.get_queue_metrics().refused == 300


def test_a_full_queue_refuses_and_then_recovers() -> None:
    with LockFreeTxQueue.create(None, slots=64, producers=4, buffer_bytes=4096) as queue:
        receiver = FrameReceiver(queue)
        put(queue, make(0, 30))
        put(queue, make(1, 30))
        with pytest.raises(QueueFull):
            put(queue, make(2, 2))
        assert [frame.token for frame in receiver.receive()] == [0, 1]
        put(queue, make(2, 62))
        assert [frame.token for frame in receiver.receive()] == [2]


def test_an_emptied_area_is_used_from_its_front_and_whole() -> None:
    with (
        LockFreeTxQueue.create(None, slots=64, producers=1, buffer_bytes=1 << 20) as queue,
        queue.register() as producer,
    ):
        receiver = FrameReceiver(queue)
        first = ring.claim(queue.words, producer.index, 1000, 0)
        for token in range(50):
            frame = make(token, 1000)
            producer.enqueue(frame.records, token=token)
            receiver.receive()
            assert ring.claim(queue.words, producer.index, 1000, 0) == first
        for token in range(16):
            producer.enqueue(make(token, 1000).records, token=token)
        assert [frame.token for frame in receiver.receive()] == list(range(10))


def test_an_aborted_claim_leaves_no_trace(queue: LockFreeTxQueue) -> None:
    with queue.register() as producer:
        assert ring.claim(queue.words, producer.index, 5, 0) > 0
        producer.enqueue(make(7, 2).records, token=7)
        assert ring.claim(queue.words, producer.index, 5, 0) > 0
    (frame,) = FrameReceiver(queue).receive()
    assert_whole(frame)


def test_publishing_without_a_claim_is_refused(queue: LockFreeTxQueue) -> None:
    with queue.register() as producer:
        assert ring.publish(queue.words, producer.index, 1) == ring.NOTHING_CLAIMED
        producer.enqueue(make(1, 1).records)
        assert ring.publish(queue.words, producer.index, 1) == ring.NOTHING_CLAIMED


def test_a_closed_producer_refuses_and_its_place_is_free() -> None:
    with LockFreeTxQueue.create(None, slots=4, producers=1) as queue:
        producer = queue.register()
        producer.enqueue(make(1, 1).records)
        with pytest.raises(ProducersExhausted):
            queue.register()
        producer.close()
        with pytest.raises(QueueClosed):
            producer.enqueue(make(1, 1).records)
        with pytest.raises(ProducersExhausted, match="still waiting"):
            queue.register()
        FrameReceiver(queue).receive()
        queue.register().close()


def test_a_dropped_producer_gives_its_place_back() -> None:
    with LockFreeTxQueue.create(None, slots=4, producers=1) as queue:
        for _ in range(3):
            assert queue.register().index == 0


def test_a_closed_queue_refuses(queue: LockFreeTxQueue) -> None:
    put(queue, make(1, 1))
    queue.close()
    with pytest.raises(RegionError, match="closed"):
        put(queue, make(1, 1))
    with pytest.raises(RegionError, match="closed"):
        queue.wait(0)


def test_only_a_ring_can_be_attached(tmp_path: Path) -> None:
    with Region.create(tmp_path / "other", 4096, kind="state", version=1) as region:
        region.complete()
    with pytest.raises(RegionForeign, match="'state'"):
        LockFreeTxQueue.attach(tmp_path / "other")


def test_metrics_count_everything(queue: LockFreeTxQueue) -> None:
    for token in range(4):
        put(queue, make(token, 10, 5))
    FrameReceiver(queue).receive(limit=20)
    metrics = queue.get_queue_metrics()
    assert (metrics.enqueued, metrics.dequeued, metrics.size) == (40, 20, 20)
    assert (metrics.frames_enqueued, metrics.frames_dequeued) == (4, 2)
    assert (metrics.payload_bytes_enqueued, metrics.payload_bytes_dequeued) == (20, 10)
    assert (metrics.batches, metrics.producers, metrics.retries) == (1, 1, 0)


def test_the_bound_is_small_when_idle_and_full_under_load(queue: LockFreeTxQueue) -> None:
    while (bound := queue.rebalance_if_needed()) != ring_layout.BOUND_MIN:
        assert bound < BATCH_SIZE
    for token in range(60):
        put(queue, make(token, 100))
    receiver = FrameReceiver(queue)
    assert receiver.receive()[0].token == 0, "at once, and in a small batch"
    assert queue.rebalance_if_needed() == BATCH_SIZE
    assert len(receiver.receive()) == 59
    assert queue.rebalance_if_needed() == BATCH_SIZE // 2


frames_strategy = st.tuples(st.just("put"), st.integers(0, 1), st.integers(1, 9), st.integers(0, 200))
takes_strategy = st.tuples(st.just("take"), st.integers(1, 40), st.just(0), st.just(0))
aborts_strategy = st.tuples(st.just("abort"), st.integers(0, 1), st.integers(1, 9), st.integers(0, 200))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(frames_strategy | takes_strategy | aborts_strategy, min_size=20, max_size=150),
    st.sampled_from([1024, 2048, 4096, 1 << 17]),
)
def test_any_sequence_of_operations_behaves_like_a_bounded_queue(steps: list[Any], buffer_bytes: int) -> None:
    with LockFreeTxQueue.create(None, slots=8, producers=2, buffer_bytes=buffer_bytes) as queue:
        producers = [queue.register(), queue.register()]
        receiver = FrameReceiver(queue)
        waiting: deque[tuple[int, int, int]] = deque()
        for token, (what, first, count, size) in enumerate(steps):
            if what == "put":
                frame = make(token, count, size)
                try:
                    producers[first].enqueue(frame.records, frame.payloads, token)
                    waiting.append((token, count, size))
                except QueueFull:
                    assert waiting, "an empty queue takes every frame"
            elif what == "abort":
                ring.claim(queue.words, producers[first].index, count, size)
            else:
                got = receiver.receive(limit=first)
                assert bool(got) == bool(waiting)
                for taken in got:
                    assert (taken.token, len(taken.records), taken.payloads.size) == waiting.popleft()
                    assert_whole(taken)
        assert queue.get_queue_metrics().size == sum(count for _, count, _ in waiting)
        for producer in producers:
            producer.close()
