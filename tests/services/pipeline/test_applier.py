"""The applier, between fake blocks, a fake state and submitters that wait."""

from collections.abc import Callable

import pytest

from penstock.contract import result_code
from penstock.v1 import txqueue_pb2
from replication.log.errors import LogRecycled
from services.pipeline.applier import Applier, StateQuery
from services.pipeline.channel import ChannelClosed
from services.telemetry.conditions import Condition, Conditions
from services.telemetry.counters import Counter, Counters
from services.telemetry.telemetry import NoTelemetry
from tests.fakes import ManualClock
from tests.services.pipeline.harness.fakes import RECORDS, BlockMaker, FakeResults, FakeState, Submitters
from tests.services.pipeline.harness.stage_contract import BlockStageContract, ThreadedStageBench, ThreadedStageContract


class ApplierBench(ThreadedStageBench):
    def __init__(self) -> None:
        super().__init__()
        self.state = FakeState()
        self.results = FakeResults()
        self.clock = ManualClock()
        self.conditions = Conditions(self.clock)
        self.counters = Counters()
        self.submitters = Submitters(self.counters)
        self.blocks = BlockMaker(self.pool, self.counters, self.submitters)
        self.stage: Applier = Applier(
            self.state.as_state_machine(),
            self.results.as_results_file(),
            self.submitters.pending_frames,
            self.counters,
            NoTelemetry(),
            self.conditions,
            self.clock,
        )
        self.start()

    def submit(self) -> None:
        sealed = self.blocks.next()
        self.counters.put(Counter.COMMITTED_INDEX, sealed.block.index)
        self.stage.submit(sealed)

    def work(self) -> None:
        if not self.stage.closed:
            self.stage.stop()
        super().work()

    def in_the_middle(self, act: Callable[[], None]) -> None:
        self.state.on_apply = act

    def ask(self) -> StateQuery:
        query = StateQuery(lambda state: state.applied_index)
        self.stage.submit(query)
        return query

    @property
    def passed_on(self) -> list[int]:
        return list(self.submitters.answers)

    @property
    def next_was_stopped(self) -> bool:
        return True  # there is none


class TestApplier(BlockStageContract, ThreadedStageContract):
    def make_bench(self) -> ApplierBench:
        return ApplierBench()


def test_a_block_s_frames_get_their_receipts_and_its_buffer_goes_back() -> None:
    bench = ApplierBench()
    bench.submit()
    bench.submit()
    bench.work()
    answer = bench.submitters.answers[2]
    assert isinstance(answer, bytes)
    receipt = txqueue_pb2.SubmitStreamResponse.FromString(answer)
    assert (receipt.log_index, receipt.first_position) == (2, RECORDS)
    assert receipt.results == bytes([result_code.OK]) * RECORDS
    assert bench.results.written == {0: receipt.results, RECORDS: receipt.results}
    assert bench.counters[Counter.APPLIED_INDEX] == 2
    assert bench.pool.lent == 0


def test_a_query_is_answered_between_the_blocks_it_was_submitted_between() -> None:
    bench = ApplierBench()
    bench.submit()
    between = bench.ask()
    bench.submit()
    behind = bench.ask()
    bench.work()
    assert (between.answer.result(0), behind.answer.result(0)) == (1, 2)


def test_a_query_that_raises_answers_with_its_error_and_harms_nobody() -> None:
    bench = ApplierBench()
    query = StateQuery(lambda _: 1 // 0)
    bench.stage.submit(query)
    bench.submit()
    bench.work()
    with pytest.raises(ZeroDivisionError):
        query.answer.result(0)
    assert bench.passed_on == [1]
    assert bench.failures == []


def test_a_query_that_nobody_waits_for_any_more_is_not_asked() -> None:
    bench = ApplierBench()
    query = StateQuery(lambda _: pytest.fail("asked"))
    query.answer.cancel()
    bench.stage.submit(query)
    bench.work()
    assert bench.failures == []


def test_queries_that_wait_when_the_applier_fails_are_answered_by_an_error() -> None:
    bench = ApplierBench()
    bench.submit()
    waiting, given_up = bench.ask(), bench.ask()
    given_up.answer.cancel()
    error = OSError("broken")

    def fail() -> None:
        raise error

    bench.in_the_middle(fail)
    bench.work()
    with pytest.raises(ChannelClosed):
        waiting.answer.result(0)
    assert bench.failures == [error]
    with pytest.raises(ChannelClosed):
        bench.ask()


def test_a_block_that_is_not_committed_is_not_applied() -> None:
    bench = ApplierBench()
    bench.stage.submit(bench.blocks.next())
    bench.work()
    assert [type(error) for error in bench.failures] == [AssertionError]
    assert bench.state.applied_index == 0


def test_blocks_are_applied_in_order_and_each_once() -> None:
    bench = ApplierBench()
    bench.submit()
    bench.counters.put(Counter.COMMITTED_INDEX, 3)
    bench.blocks.next().release()
    bench.submit()
    bench.work()
    assert bench.state.applied_index == 1
    assert [type(error) for error in bench.failures] == [AssertionError]


def test_a_replayed_block_is_applied_and_answers_nobody() -> None:
    bench = ApplierBench()
    sealed = bench.blocks.next()
    bench.stage.replay(sealed.block)
    assert bench.state.applied_index == 1
    assert bench.results.written
    assert bench.passed_on == []


def test_a_completion_of_a_frame_that_was_refused_meanwhile_is_dropped() -> None:
    """A failure elsewhere refuses all that wait while the applier is still at work."""
    bench = ApplierBench()
    bench.submit()
    bench.submit()
    bench.in_the_middle(lambda: bench.submitters.pending_frames.unregister(1))
    bench.work()
    assert bench.passed_on == [2]
    assert len(bench.submitters.pending_frames) == 0


def test_a_log_that_begins_after_the_state_s_end_is_refused_with_an_error_that_says_so() -> None:
    bench = ApplierBench()
    later = [bench.blocks.next() for _ in range(3)][-1].block
    with pytest.raises(LogRecycled, match="the log starts at 3"):
        bench.stage.replay(later)


def conditions_after(bench: ApplierBench) -> list[Condition]:
    bench.submit()
    bench.work()
    return [active.condition for active in bench.conditions.active()]


def test_a_write_of_results_that_hangs_can_be_seen_from_outside() -> None:
    bench = ApplierBench()
    lasted: list[float] = []

    def hang() -> None:
        bench.clock.advance(5)
        lasted.append(bench.stage.disk_wait.lasts_s())

    bench.results.on_write = hang
    bench.submit()
    bench.work()
    assert (lasted, bench.stage.disk_wait.lasts_s()) == ([5], 0)


def test_clients_that_find_no_session_are_a_condition() -> None:
    bench = ApplierBench()
    bench.state.result = result_code.SESSIONS_EXHAUSTED
    assert conditions_after(bench) == [Condition.SESSIONS_EXHAUSTED]


def test_other_results_are_no_condition() -> None:
    assert conditions_after(ApplierBench()) == []
