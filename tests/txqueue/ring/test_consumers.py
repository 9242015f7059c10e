"""One consumer at a time: claims, succession, and what a replaced consumer finds out."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.txqueue.frames import FrameReceiver, make
from tests.txqueue.producer_process import process
from txqueue import consumer
from txqueue.errors import ConsumerBusy, ConsumerFenced, RegionForeign
from txqueue.jit.compare_and_swap import compare_and_swap
from txqueue.queue import LockFreeTxQueue
from txqueue.ring import consumer_state, ring
from txqueue.ring import layout as ring_layout
from txqueue.ring.wait_strategy import WaitStrategy


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[LockFreeTxQueue]:
    with LockFreeTxQueue.create(tmp_path / "ring", slots=64, producers=8, buffer_bytes=1 << 16) as queue:
        yield queue


def put(queue: LockFreeTxQueue, *tokens: int) -> None:
    for token in tokens:
        queue.enqueue(make(token, 3).records, token=token)


def tokens(receiver: FrameReceiver, limit: int | None = None) -> list[int]:
    return [frame.token for frame in receiver.receive(limit)]


CONSUME = """
import numpy as np
body, rows = np.zeros(1 << 20, np.uint8), np.zeros((64, 4), np.uint64)
queue.dequeue_exclusive_batch(body, rows, {limit})
"""


def test_a_dead_processes_claim_is_taken_without_loss_or_repetition(queue: LockFreeTxQueue) -> None:
    put(queue, 1, 2, 3)
    with process(queue, CONSUME.format(limit=6) + "die()") as child:
        assert child.wait(60) == -signal.SIGKILL
    assert tokens(FrameReceiver(queue)) == [3]


def test_a_consumer_that_was_only_stopped_is_fenced(queue: LockFreeTxQueue) -> None:
    put(queue, 1, 2)
    script = CONSUME.format(limit=3) + (
        "from txqueue.errors import ConsumerFenced\n"
        "os.kill(os.getpid(), signal.SIGSTOP)\n"
        "for _ in range(2):\n"
        "    for late in (lambda: queue.dequeue_exclusive_batch(body, rows), lambda: queue.wait(60)):\n"
        "        try:\n"
        "            late()\n"
        "            sys.exit(1)\n"
        "        except ConsumerFenced:\n"
        "            pass\n"
    )
    with process(queue, script) as child:
        assert os.WIFSTOPPED(os.waitpid(child.pid, os.WUNTRACED)[1])
        receiver = FrameReceiver(queue)
        with pytest.raises(ConsumerBusy, match="take_over"):
            receiver.receive()
        queue.take_over()
        assert tokens(receiver) == [2]
        os.kill(child.pid, signal.SIGCONT)
        assert child.wait(60) == 0
        put(queue, 3)
        assert tokens(receiver) == [3], "the fenced one spoilt nothing"


def test_consumers_that_take_over_from_each_other_share_the_frames_out(queue: LockFreeTxQueue) -> None:
    with LockFreeTxQueue.attach(queue.path) as other:
        receivers = [FrameReceiver(queue), FrameReceiver(other)]
        other.take_over()
        got: list[int] = []
        for round_ in range(40):
            put(queue, *range(4 * round_, 4 * round_ + 4))
            one, another = receivers[round_ % 2], receivers[1 - round_ % 2]
            one.queue.take_over()
            got += tokens(one, limit=6)
            with pytest.raises(ConsumerFenced):
                another.receive()
            got += tokens(one)
        assert got == list(range(160))
        assert queue.get_queue_metrics().size == 0


def name_and_epoch(queue: LockFreeTxQueue) -> tuple[int, int]:
    claim = int(queue.words[ring_layout.CONSUMER])
    return claim >> ring_layout.EPOCH_BITS, claim & ring_layout.EPOCH_MASK


def epoch_in_force(queue: LockFreeTxQueue) -> int:
    return int(queue.words[ring_layout.HEAD]) & ring_layout.EPOCH_MASK


def after_the_claim_is_replaced(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Lets something happen between the two steps of the next claim."""
    waiting = [act]

    def interrupted(words: NDArray[np.uint64], index: int, expected: int, desired: int) -> bool:
        swapped = bool(compare_and_swap(words, index, expected, desired))
        if index == ring_layout.CONSUMER and waiting:
            waiting.pop()()
        return swapped

    monkeypatch.setattr(consumer, "compare_and_swap", interrupted)


ONE, ANOTHER = (1 << 47) + 1, (1 << 47) + 2
"""Names of processes, as large as they get; none that lives."""


def test_a_take_over_between_the_steps_of_another_comes_after_it(
    queue: LockFreeTxQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LockFreeTxQueue.attach(queue.path) as faster, LockFreeTxQueue.attach(queue.path) as third:

        def overlap() -> None:
            monkeypatch.setattr(consumer, "this_process", lambda: ANOTHER)
            faster.take_over()

        monkeypatch.setattr(consumer, "this_process", lambda: ONE)
        monkeypatch.setattr(consumer, "is_alive", lambda _: True)
        after_the_claim_is_replaced(monkeypatch, overlap)
        queue.take_over()
        assert name_and_epoch(queue) == (ANOTHER, epoch_in_force(queue))
        put(queue, 1)
        with pytest.raises(ConsumerFenced):
            FrameReceiver(queue).receive()
        with pytest.raises(ConsumerBusy):
            FrameReceiver(third).receive()
        monkeypatch.setattr(consumer, "this_process", lambda: ONE)
        queue._consumer.resign()
        assert name_and_epoch(queue) == (ANOTHER, epoch_in_force(queue)), "a fenced one has nothing to resign"
        monkeypatch.setattr(consumer, "this_process", lambda: ANOTHER)
        faster._consumer.resign()
        assert tokens(FrameReceiver(third)) == [1]


def test_a_claim_whose_process_died_between_its_steps_is_taken(
    queue: LockFreeTxQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Died(Exception):
        pass

    def die() -> None:
        raise Died

    put(queue, 1, 2, 3)
    holder = FrameReceiver(queue)
    assert tokens(holder, 3) == [1]
    with LockFreeTxQueue.attach(queue.path) as dead, LockFreeTxQueue.attach(queue.path) as third:
        with monkeypatch.context() as patch:
            patch.setattr(consumer, "this_process", lambda: ONE)
            after_the_claim_is_replaced(patch, die)
            with pytest.raises(Died):
                dead.take_over()
        assert tokens(holder, 3) == [2], "it is not fenced yet"
        assert tokens(FrameReceiver(third)) == [3]
        assert name_and_epoch(queue)[1] == epoch_in_force(queue)
        with pytest.raises(ConsumerFenced):
            holder.receive()


def test_a_fenced_consumer_resigns_nothing_of_its_successor_in_the_same_process(queue: LockFreeTxQueue) -> None:
    FrameReceiver(queue).receive()
    with LockFreeTxQueue.attach(queue.path) as successor, LockFreeTxQueue.attach(queue.path) as third:
        successor.take_over()
        queue._consumer.resign()
        with pytest.raises(ConsumerBusy):
            FrameReceiver(third).receive()
        assert tokens(FrameReceiver(successor)) == []


def test_epochs_begin_anew_after_the_last(queue: LockFreeTxQueue) -> None:
    queue.words[ring_layout.HEAD] |= ring_layout.EPOCH_MASK - 1
    queue.words[ring_layout.CONSUMER] = ring_layout.EPOCH_MASK - 1
    receivers = [FrameReceiver(queue)]
    with LockFreeTxQueue.attach(queue.path) as other:
        receivers.append(FrameReceiver(other))
        for token in range(6):
            put(queue, token)
            one, another = receivers[token % 2], receivers[1 - token % 2]
            one.queue.take_over()
            assert tokens(one) == [token]
            if another.queue._consumer.has_claimed:
                with pytest.raises(ConsumerFenced):
                    another.receive()
        assert epoch_in_force(queue) == 4


def test_a_fenced_consumer_cannot_make_its_successor_oversleep(queue: LockFreeTxQueue) -> None:
    receiver = FrameReceiver(queue)
    receiver.receive()
    mark = int(queue._consumer.state[consumer_state.EPOCH]) + 1
    with LockFreeTxQueue.attach(queue.path) as successor:
        successor.take_over()
        queue.words[ring_layout.PARKED] = mark + 1  # the successor sleeps
        queue._consumer.state[consumer_state.PARKED_MARK] = mark  # and this one wakes from a sleep of long ago
        with pytest.raises(ConsumerFenced):
            queue.wait(0.01)
        assert queue.words[ring_layout.PARKED] == mark + 1


def test_a_forked_child_does_not_consume_as_its_parent(queue: LockFreeTxQueue) -> None:
    script = CONSUME.format(limit=3) + (
        "from txqueue.errors import ConsumerBusy\n"
        "if os.fork() == 0:\n"
        "    try:\n"
        "        queue.dequeue_exclusive_batch(body, rows)\n"
        "    except ConsumerBusy:\n"
        "        os._exit(0)\n"
        "    os._exit(1)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.wait()[1]) or queue.dequeue_exclusive_batch(body, rows).frames - 1)\n"
    )
    put(queue, 1, 2)
    with process(queue, script) as child:
        assert child.wait(60) == 0


@pytest.mark.parametrize("word", [ring_layout.SLOTS, ring_layout.BUFFER_WORDS, ring_layout.BUFFERS_AT])
@pytest.mark.parametrize("value", [0, 3, 128, 1 << 40])
def test_a_ring_whose_capacities_cannot_be_is_refused(queue: LockFreeTxQueue, word: int, value: int) -> None:
    queue.words[word] = value
    with pytest.raises(RegionForeign, match="capacities"):
        LockFreeTxQueue.attach(queue.path)


@pytest.mark.parametrize("strategy", list(WaitStrategy))
def test_every_wait_strategy_sees_frames_wakes_and_the_end_of_its_time(strategy: WaitStrategy) -> None:
    with LockFreeTxQueue.create(None, slots=4, producers=1, wait=strategy) as queue:
        assert not queue.wait(0.001)
        queue.wake()
        assert not queue.wait(60)
        queue.enqueue(np.zeros((1, 8), np.uint64))
        assert queue.wait(60)
        metrics = queue.get_queue_metrics()
        assert metrics.waits >= 1
        assert (metrics.parks > 0) == (strategy is WaitStrategy.PARK)


def test_distributions_tell_batch_sizes_and_dwell(queue: LockFreeTxQueue) -> None:
    receiver = FrameReceiver(queue)
    for token in range(64):
        put(queue, token)
        tokens(receiver)
    metrics = queue.get_queue_metrics()
    assert metrics.batches == metrics.batch_sizes.total == 64
    assert metrics.batch_sizes.quantile(0.5) == 3
    assert metrics.batch_sizes.at_most(2) == 0
    assert metrics.dwell_s.total == 4, "one frame in sixteen is stamped"
    assert 0 < metrics.dwell_s.quantile(0.5) < 1
    assert (metrics.claims, metrics.dead_claims) == (64, 0)


def test_dead_claims_and_padding_are_counted() -> None:
    with LockFreeTxQueue.create(None, slots=4, producers=1, buffer_bytes=1024) as queue:
        producer = queue.register()
        producer.enqueue(make(1, 8).records)
        FrameReceiver(queue).receive()
        producer.enqueue(make(2, 8).records)
        assert queue.get_queue_metrics().padding_bytes == 1024 - 64 * 9
        FrameReceiver(queue).receive()
        ring.claim(queue.words, producer.index, 1, 0)
        producer.close()
        queue.register().close()
        assert queue.get_queue_metrics().dead_claims == 1


def test_a_wake_takes_away_a_mark_that_it_did_not_see_at_first(
    queue: LockFreeTxQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the consumer marks itself in between, or a processor loads early."""
    late = [7]

    def swapped(words: NDArray[np.uint64], index: int, expected: int, desired: int) -> bool:
        if index == ring_layout.PARKED and late:
            words[index] = late.pop()
        return bool(compare_and_swap(words, index, expected, desired))

    monkeypatch.setattr(consumer, "compare_and_swap", swapped)
    queue.wake()
    assert not late
    assert queue.words[ring_layout.PARKED] == ring_layout.AWAKE


def test_the_bound_is_small_when_idle_although_a_consumer_died_before_it_counted(queue: LockFreeTxQueue) -> None:
    queue.enqueue(make(1, 900).records)
    with LockFreeTxQueue.attach(queue.path) as dead:
        FrameReceiver(dead).receive()
    consumed = int(queue.words[ring_layout.CONTROLS_AT]) + ring_layout.CONSUMED_RECORDS
    queue.words[consumed] = 0
    for _ in range(10):
        bound = queue.rebalance_if_needed()
    assert bound == ring_layout.BOUND_MIN


def test_a_forked_child_leaves_the_mark_of_its_sleeping_parent_alone(queue: LockFreeTxQueue) -> None:
    script = CONSUME.format(limit=3) + (
        "from txqueue.errors import ConsumerBusy\n"
        "mark = int(queue._consumer.state[consumer_state.EPOCH]) + 1\n"
        "queue.words[ring_layout.PARKED] = queue._consumer.state[consumer_state.PARKED_MARK] = mark\n"
        "if os.fork() == 0:\n"
        "    try:\n"
        "        queue.wait(0.01)\n"
        "    except ConsumerBusy:\n"
        "        os._exit(int(queue.words[ring_layout.PARKED]) != mark)\n"
        "    os._exit(2)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))\n"
    )
    with process(queue, script) as child:
        assert child.wait(60) == 0
