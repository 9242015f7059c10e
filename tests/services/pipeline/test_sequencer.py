"""The sequencer, between a fake ring and a fake log writer."""

from collections.abc import Callable

import numpy as np
import pytest

from penstock.contract.limits import BATCH_SIZE
from penstock.contract.reasons import Reason
from replication.log.ballot import Ballot
from replication.log.block import HEADER_BYTES, NO_HASH
from services.pipeline.block_clock import BlockClock
from services.pipeline.sequencer import Sequencer
from services.refusal import Refusal
from services.telemetry.conditions import HOLD_S, Condition, Conditions
from services.telemetry.counters import Counter, Counters
from tests.fakes import ManualClock
from tests.frames import rows
from tests.services.pipeline.harness.fakes import (
    CLUSTER_ID,
    EPOCH,
    RECORDS,
    FakeLog,
    FakeQueue,
    FakeResults,
    Submitters,
)
from tests.services.pipeline.harness.stage_contract import PassingStageContract, ThreadedStageBench

DAY_NS = 86_400 * 10**9


class SequencerBench(ThreadedStageBench):
    def __init__(self, log: FakeLog | None = None) -> None:
        super().__init__()
        self.queue = FakeQueue()
        self.log = log or FakeLog()
        self.results = FakeResults()
        self.clock = ManualClock()
        self.conditions = Conditions(self.clock)
        self.counters = Counters()
        self.submitters = Submitters(self.counters)
        self._frames = 0
        self.stage: Sequencer = Sequencer(
            self.queue,
            self.pool,
            self.log,
            self.results,
            self.submitters.pending_frames,
            self.counters,
            self.next,
            cluster_id=CLUSTER_ID,
            ballot=Ballot(EPOCH, 0),
            block_clock=BlockClock(self.clock, 0, DAY_NS),
            clock=self.clock,
            conditions=self.conditions,
        )
        self.start()

    def submit(self) -> None:
        self._frames += 1
        self.queue.publish(self.submitters.register(self._frames))

    def work(self) -> None:
        if not self.stage.closed:
            self.stage.stop()  # the fake ring cannot wait for more
        super().work()

    def in_the_middle(self, act: Callable[[], None]) -> None:
        self.queue.on_dequeue = act


class TestSequencer(PassingStageContract):
    def make_bench(self) -> SequencerBench:
        return SequencerBench()


def test_blocks_are_chained_and_numbered_without_gaps_behind_the_log_s_last() -> None:
    log = FakeLog()
    log.last_index, log.last_position, log.last_hash, log.durable_index = 7, 100, b"h" * 16, 6
    bench = SequencerBench(log)
    for _ in range(3):
        bench.submit()
    bench.work()
    blocks = [sealed.block for sealed in bench.next.blocks]
    assert [block.index for block in blocks] == [8, 9, 10]
    assert [block.first_position for block in blocks] == [100, 100 + RECORDS, 100 + 2 * RECORDS]
    assert [block.previous_hash for block in blocks] == [b"h" * 16, blocks[0].hash, blocks[1].hash]
    assert {(block.cluster_id, block.ballot, block.log_id, block.durable_index) for block in blocks} == {
        (CLUSTER_ID, Ballot(EPOCH, 0), log.log_id, 6)
    }
    for block in blocks:
        block.verify()
        assert block.body.tobytes() == rows(RECORDS).tobytes()
    assert bench.counters[Counter.SEALED_INDEX] == 10
    assert bench.counters[Counter.TRANSACTIONS_SEALED] == 3 * RECORDS


def test_a_new_log_begins_with_block_1() -> None:
    bench = SequencerBench()
    bench.submit()
    bench.work()
    (sealed,) = bench.next.blocks
    assert (sealed.block.index, sealed.block.first_position, sealed.block.previous_hash) == (1, 0, NO_HASH)
    assert sealed.frames.tolist() == [[1, 0, RECORDS, 0]]
    assert sealed.sealed_ns == sealed.block.time_ns == bench.clock.now_ns
    assert np.shares_memory(sealed.buffer[HEADER_BYTES:], sealed.block.body)


def test_without_a_buffer_frames_stay_in_the_ring_until_one_comes_back() -> None:
    bench = SequencerBench()
    taken = [bench.pool.borrow_object() for _ in range(8)]
    waits = 0

    def bring_one_back_late() -> None:
        nonlocal waits
        waits += 1
        assert len(bench.queue) == 1, "nothing is taken from the ring that has no place to go"
        if waits == 3:
            bench.pool.return_object(taken.pop())

    bench.pool.on_exhausted = bring_one_back_late
    bench.submit()
    bench.work()
    assert waits == 3
    assert bench.passed_on == [1]


def test_without_a_buffer_the_sequencer_ends_once_the_stage_behind_has_failed() -> None:
    bench = SequencerBench()
    for _ in range(8):
        bench.pool.borrow_object()
    bench.pool.on_exhausted = bench.next.stop
    bench.submit()
    bench.work()
    assert bench.failures == []
    assert bench.passed_on == []


def test_without_a_buffer_the_sequencer_ends_once_it_is_made_to_fail() -> None:
    bench = SequencerBench()
    for _ in range(8):
        bench.pool.borrow_object()
    error = OSError("elsewhere")
    bench.pool.on_exhausted = lambda: bench.stage.fail(error)
    bench.submit()
    bench.work()
    assert bench.failures == [error], "it does not ask for a buffer again"
    assert bench.passed_on == []


def test_a_full_disk_refuses_the_frames_and_numbers_nothing() -> None:
    bench = SequencerBench()
    bench.log.full = True
    bench.submit()

    def free_the_disk_for_the_second() -> None:
        bench.log.full = len(bench.queue) == 2

    bench.submit()
    bench.in_the_middle(free_the_disk_for_the_second)
    bench.work()
    refused = bench.submitters.answers.pop(1)
    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.LOG_FULL
    assert bench.submitters.answers == {}
    assert bench.passed_on == [1]
    assert bench.pool.lent == 1


def test_a_log_that_is_short_of_something_refuses_the_frames_and_numbers_nothing() -> None:
    bench = SequencerBench()
    bench.log.busy = True
    bench.submit()
    bench.work()
    (refused,) = bench.submitters.answers.values()
    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.LOG_BUSY
    assert refused.reason.retryable
    assert (bench.passed_on, bench.pool.lent) == ([], 0)


def test_where_the_results_have_no_room_the_frames_are_refused_before_they_are_numbered() -> None:
    bench = SequencerBench()
    bench.results.full = True
    bench.submit()
    bench.work()
    (refused,) = bench.submitters.answers.values()
    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.LOG_FULL
    assert bench.passed_on == []


def test_room_for_the_results_is_reserved_block_by_block() -> None:
    bench = SequencerBench()
    bench.submit()
    bench.submit()
    bench.work()
    assert bench.results.reserved == [(0, RECORDS), (RECORDS, RECORDS)]


def test_an_empty_batch_returns_its_buffer() -> None:
    bench = SequencerBench()
    bench.submit()
    bench.in_the_middle(bench.queue._frames.clear)
    bench.work()
    assert bench.passed_on == []
    assert bench.pool.lent == 0


def test_a_stop_wakes_a_sequencer_that_waits() -> None:
    bench = SequencerBench()
    bench.stage.stop()
    assert bench.queue.wakes == 1


def test_rows_of_frames_are_the_block_s_own() -> None:
    """The array that the ring writes them into is used again for the next block."""
    bench = SequencerBench()
    bench.submit()
    bench.submit()
    bench.work()
    first, second = (sealed.frames for sealed in bench.next.blocks)
    assert (first[0, 0], second[0, 0]) == (1, 2)
    assert first.base is None
    assert first.shape[0] < BATCH_SIZE


def test_a_full_disk_is_a_condition_until_blocks_find_room_again() -> None:
    bench = SequencerBench()
    bench.log.full = True
    for _ in range(2):
        bench.submit()
    seen: list[bool] = []

    def room_for_the_second() -> None:
        seen.append(Condition.DISK_FULL in bench.conditions)
        bench.log.full = len(seen) < 2

    bench.in_the_middle(room_for_the_second)
    bench.work()
    assert seen == [False, True]
    bench.clock.advance(HOLD_S)
    bench.conditions.settle()
    assert bench.conditions.active() == []


def test_a_log_that_is_short_of_something_is_a_condition_of_its_own_that_leaves_descriptors_alone() -> None:
    bench = SequencerBench()
    bench.conditions.set(Condition.DESCRIPTORS_SHORT)
    bench.log.busy = True
    bench.submit()
    bench.submit()
    seen: list[set[Condition]] = []

    def room_for_the_second() -> None:
        seen.append({active.condition for active in bench.conditions.active()})
        bench.log.busy = len(seen) < 2

    bench.in_the_middle(room_for_the_second)
    bench.work()
    assert seen[1] == {Condition.LOG_BUSY, Condition.DESCRIPTORS_SHORT}
    assert bench.passed_on == [1]
    bench.clock.advance(HOLD_S)
    bench.conditions.settle()
    assert [active.condition for active in bench.conditions.active()] == [Condition.DESCRIPTORS_SHORT]


@pytest.mark.parametrize("shortage", [Condition.DISK_FULL, Condition.LOG_BUSY])
def test_the_end_of_a_shortage_is_noticed_though_no_frame_comes_and_the_room_is_the_next_block_s(
    shortage: Condition,
) -> None:
    bench = SequencerBench()
    bench.log.full, bench.log.busy = shortage is Condition.DISK_FULL, shortage is Condition.LOG_BUSY
    reservations: list[bool] = []
    bench.log.on_reserve = lambda: reservations.append(bench.log.full or bench.log.busy)
    bench.submit()
    idle = 0

    def time_passes() -> None:
        nonlocal idle
        idle += 1
        if idle == 3:
            bench.log.full = bench.log.busy = False
        if idle == 5:
            bench.clock.advance(HOLD_S)
            bench.conditions.settle()
            assert bench.conditions.active() == []
            bench.submit()
        if idle == 6:
            bench.stage.stop()

    bench.queue.on_idle = time_passes
    bench.executor.parked[0].run()
    assert reservations == [True, True, True, False], "room is looked for until there is some, and used by the block"
    assert bench.results.reserved[-1] == (0, BATCH_SIZE)
    assert bench.passed_on == [1]


def test_a_disk_that_has_room_again_but_no_descriptors_for_the_log_is_no_longer_full() -> None:
    bench = SequencerBench()
    bench.log.full = True
    bench.submit()
    bench.submit()

    def free_the_disk() -> None:
        bench.log.full, bench.log.busy = len(bench.queue) == 2, len(bench.queue) == 1

    bench.in_the_middle(free_the_disk)
    bench.work()
    bench.clock.advance(HOLD_S)
    bench.conditions.settle()
    assert [active.condition for active in bench.conditions.active()] == [Condition.LOG_BUSY]


def test_a_wait_for_room_in_the_log_can_be_seen_from_outside() -> None:
    bench = SequencerBench()
    lasted: list[float] = []

    def hang() -> None:
        bench.clock.advance(5)
        lasted.append(bench.stage.disk_wait.lasts_s())

    bench.log.on_reserve = hang
    bench.submit()
    bench.work()
    assert lasted == [5]
    assert bench.stage.disk_wait.lasts_s() == 0
