"""Histories of the real queue, recorded from threads and processes, are those of a queue that does one thing at a time.

The checker itself is held against trying all orders, and must find every fault that is planted in a history.
"""

import itertools
import math
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.models.ring.linearizability import Operation, dequeue, enqueue, in_time, is_linearizable
from tests.txqueue.frames import FrameReceiver, make
from tests.txqueue.producer_process import process
from txqueue.errors import QueueFull
from txqueue.queue import LockFreeTxQueue
from txqueue.region.futex import yield_processor

PRODUCERS = 4
FRAMES = 40


def dequeue_batch(receiver: FrameReceiver, limit: int) -> Operation:
    called = time.monotonic_ns()
    batch = receiver.queue.dequeue_exclusive_batch(receiver.body, receiver.rows, limit)
    returned = time.monotonic_ns()
    return dequeue(called, returned, *receiver.rows[: batch.frames, 0].tolist())


def drain(queue: LockFreeTxQueue, is_over: Callable[[], bool], seed: int = 1) -> list[Operation]:
    """Dequeues with changing limits until it is over and the queue is empty."""
    chance, receiver = random.Random(seed), FrameReceiver(queue)
    history: list[Operation] = []
    while not (over := is_over()) or history[-1].dequeued:
        history.append(dequeue_batch(receiver, chance.randrange(1, 6)))
        if not over and not history[-1].dequeued:
            queue.wait(chance.uniform(0, 0.0003))
    return history


def produce(queue: LockFreeTxQueue, first: int, history: list[Operation]) -> None:
    for value in range(first, first + FRAMES):
        records = make(value, 1 + value % 3).records
        while True:
            called = time.monotonic_ns()
            if value % 4 == 0:
                yield_processor()  # lets others overlap this one, which a microsecond alone seldom does
            try:
                queue.enqueue(records, token=value)
            except QueueFull:
                yield_processor()
                continue
            history.append(enqueue(called, time.monotonic_ns(), value))
            break


@pytest.fixture(scope="module")
def recorded() -> list[Operation]:
    """What several threads did to one small queue."""
    history: list[Operation] = []
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with LockFreeTxQueue.create(None, slots=16, producers=PRODUCERS, buffer_bytes=2048) as queue:
            threads = [
                threading.Thread(target=produce, args=(queue, number * FRAMES, history)) for number in range(PRODUCERS)
            ]
            for thread in threads:
                thread.start()
            taken = drain(queue, lambda: not any(thread.is_alive() for thread in threads))
    finally:
        sys.setswitchinterval(interval_s)
    return history + taken


def test_a_history_of_threads_is_linearizable(recorded: list[Operation]) -> None:
    overlaps = sum(b.called < a.returned for a, b in itertools.pairwise(sorted(recorded, key=in_time)))
    assert overlaps > FRAMES / 10, "a history without concurrency shows nothing"
    assert is_linearizable(recorded)


def test_a_history_of_processes_is_linearizable_even_where_one_was_killed(tmp_path: Path) -> None:
    script = """
        import time
        first, frames = {first}, {frames}
        log = os.open({log!r}, os.O_WRONLY | os.O_CREAT)
        for value in range(first, first + frames):
            records = make(value, 1).records
            while True:
                os.write(log, b"call %d %d\\n" % (value, time.monotonic_ns()))
                try:
                    producer.enqueue(records, token=value)
                except QueueFull:
                    os.write(log, b"full %d %d\\n" % (value, time.monotonic_ns()))
                    continue
                os.write(log, b"done %d %d\\n" % (value, time.monotonic_ns()))
                break
    """
    logs = [tmp_path / "lives", tmp_path / "dies"]
    lasting = script.format(log=str(logs[0]), first=0, frames=400)
    endless = script.format(log=str(logs[1]), first=1 << 32, frames=1 << 30)
    with (
        LockFreeTxQueue.create(tmp_path / "ring", slots=16, producers=4, buffer_bytes=1024) as queue,
        process(queue, lasting) as lives,
        process(queue, endless) as dies,
    ):

        def is_over() -> bool:
            has_begun = logs[1].exists() and logs[1].stat().st_size > 10_000
            if lives.poll() is not None and has_begun and dies.poll() is None:
                dies.kill()
                dies.wait()
            return dies.poll() is not None

        taken = drain(queue, is_over)
        assert (lives.returncode, dies.returncode) == (0, -signal.SIGKILL)
    history = taken + [operation for log in logs for operation in read_log(log)]
    assert sum(len(operation.dequeued) for operation in taken) >= 400
    assert is_linearizable(history)


def read_log(path: Path) -> Iterator[Operation]:
    called: dict[int, int] = {}
    for line in path.read_text().splitlines():
        what, value, at_ns = line.split()
        if what == "call":
            called[int(value)] = int(at_ns)
        elif what == "done":
            yield enqueue(called.pop(int(value)), int(at_ns), int(value))
        else:
            del called[int(value)]
    for pending, called_ns in called.items():
        yield enqueue(called_ns, math.inf, pending)


def values_of(history: list[Operation]) -> list[int]:
    """All values, in the order in which they were dequeued."""
    return [value for operation in sorted(history, key=in_time) for value in operation.dequeued]


def with_values(history: list[Operation], values: list[int]) -> list[Operation]:
    """The same history, but these values were dequeued in place of the real ones."""
    rest = iter(values)
    return [
        operation._replace(dequeued=tuple(itertools.islice(rest, len(operation.dequeued))))
        for operation in sorted(history, key=in_time)
    ]


def test_a_lost_value_is_found(recorded: list[Operation]) -> None:
    lost = values_of(recorded)[FRAMES]
    assert not is_linearizable(
        [operation._replace(dequeued=tuple(v for v in operation.dequeued if v != lost)) for operation in recorded]
    )


def test_a_repeated_value_is_found(recorded: list[Operation]) -> None:
    values = values_of(recorded)
    values[FRAMES + 1] = values[FRAMES]
    assert not is_linearizable(with_values(recorded, values))


def test_a_value_that_overtook_an_earlier_one_is_found(recorded: list[Operation]) -> None:
    enqueued = {operation.enqueued: operation for operation in recorded if operation.enqueued is not None}
    values = values_of(recorded)
    later = next(
        at for at in range(FRAMES, len(values)) if enqueued[values[at - 1]].returned < enqueued[values[at]].called
    )
    values[later - 1], values[later] = values[later], values[later - 1]
    assert not is_linearizable(with_values(recorded, values))


def test_a_value_that_nobody_enqueued_is_found(recorded: list[Operation]) -> None:
    values = values_of(recorded)
    values[FRAMES] = 1 << 40
    assert not is_linearizable(with_values(recorded, values))


def test_an_empty_answer_while_a_value_waited_is_found(recorded: list[Operation]) -> None:
    waits_from = {operation.enqueued: operation.returned for operation in recorded}
    for operation in sorted(recorded, key=in_time):
        waited_ns = operation.called - max((waits_from[value] for value in operation.dequeued), default=math.inf)
        if waited_ns > 2:
            lie = dequeue(operation.called - 2, operation.called - 1)
            assert not is_linearizable([*recorded, lie])
            return
    pytest.fail("no value ever waited: the history is of no use")


def test_a_value_that_was_dequeued_before_it_was_enqueued_is_found() -> None:
    assert not is_linearizable([dequeue(0, 1, 7), enqueue(2, 3, 7)])
    assert is_linearizable([dequeue(0, 3, 7), enqueue(2, 4, 7)])


def test_queues_by_producer_without_a_common_order_are_found() -> None:
    # 1 and then 2 were enqueued into two sub-queues; the consumer emptied the second one first.
    assert not is_linearizable([enqueue(0, 1, 1), enqueue(2, 3, 2), dequeue(4, 5, 2), dequeue(6, 7, 1)])
    assert is_linearizable([enqueue(0, 3, 1), enqueue(2, 3, 2), dequeue(4, 5, 2), dequeue(6, 7, 1)])


def test_an_operation_that_never_returned_may_have_happened_or_not() -> None:
    killed = enqueue(0, math.inf, 1)
    assert is_linearizable([killed, dequeue(5, 6)])
    assert is_linearizable([killed, dequeue(5, 6, 1)])
    assert is_linearizable([killed, dequeue(5, 6), dequeue(7, 8, 1)])
    assert not is_linearizable([killed, dequeue(5, 6, 1), dequeue(7, 8, 1)])


@st.composite
def small_histories(draw: st.DrawFn) -> list[Operation]:
    """Up to four enqueues and dequeues of two processes' making, right ones and wrong ones."""
    values = list(range(draw(st.integers(1, 3))))
    times = st.integers(0, 8)
    spans = [sorted(draw(st.tuples(times, times))) for _ in range(2 * len(values))]
    enqueues = [enqueue(span[0], span[1], value) for span, value in zip(spans, values, strict=False)]
    order = draw(st.permutations(values))
    cut = draw(st.integers(0, len(values)))
    return [
        *enqueues,
        *(dequeue(span[0], span[1], *part) for span, part in zip(spans[-2:], (order[:cut], order[cut:]), strict=True)),
    ]


def is_linearizable_by_trying(history: list[Operation]) -> bool:
    def explains(order: tuple[Operation, ...]) -> bool:
        if any(later.returned < earlier.called for earlier, later in itertools.combinations(order, 2)):
            return False
        contents: list[int] = []
        for operation in order:
            if operation.enqueued is not None:
                contents.append(operation.enqueued)
            elif operation.dequeued:
                count = len(operation.dequeued)
                if tuple(contents[:count]) != operation.dequeued:
                    return False
                del contents[:count]
            elif contents:
                return False
        return True

    return any(explains(order) for order in itertools.permutations(history))


@settings(max_examples=300, deadline=None)
@given(small_histories())
def test_the_checker_agrees_with_trying_all_orders(history: list[Operation]) -> None:
    assert is_linearizable(history) == is_linearizable_by_trying(history)
