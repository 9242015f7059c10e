"""The commit gate: nothing passes before it is committed, everything does then, in order."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.host.clock import SYSTEM_CLOCK, Clock
from services.pipeline import commit_gate as commit_gate_module
from services.pipeline.channel import ChannelClosed
from services.pipeline.commit_gate import DRAIN_S_MAX, CommitGate
from services.telemetry.counters import Counter, Counters
from tests.fakes import ManualClock
from tests.services.pipeline.harness.fakes import BlockMaker, FakePool
from tests.services.pipeline.harness.interleaving import interleave, preemptions, turn_lock
from tests.services.pipeline.harness.stage_contract import BlockStageContract, StageBench


class CommitGateBench(StageBench):
    def __init__(self, buffers: int = 8, clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__()
        self.pool = FakePool(buffers)
        self.counters = Counters()
        self.blocks = BlockMaker(self.pool, self.counters)
        self.stage: CommitGate = CommitGate(self.next, self.counters, 0, clock)

    def submit(self) -> None:
        self.stage.submit(self.blocks.next())

    def work(self) -> None:
        self.stage.advance(1000)


class TestCommitGate(BlockStageContract):
    def make_bench(self) -> CommitGateBench:
        return CommitGateBench()


def test_durable_blocks_wait_for_the_commit_index() -> None:
    bench = CommitGateBench()
    for _ in range(3):
        bench.submit()
    assert bench.passed_on == []
    bench.stage.advance(2)
    assert bench.passed_on == [1, 2]
    assert bench.stage.committed_index == bench.counters[Counter.COMMITTED_INDEX] == 2
    bench.stage.advance(3)
    assert bench.passed_on == [1, 2, 3]


def test_a_commit_index_ahead_of_this_node_s_disk_passes_blocks_as_they_become_durable() -> None:
    bench = CommitGateBench()
    bench.stage.advance(2)
    assert bench.stage.committed_index == 0, "committed is never ahead of durable"
    bench.submit()
    assert bench.passed_on == [1]
    assert bench.stage.committed_index == 1
    bench.submit()
    bench.submit()
    assert bench.passed_on == [1, 2]


def test_a_commit_index_never_goes_back() -> None:
    bench = CommitGateBench()
    bench.stage.advance(2)
    bench.stage.advance(1)
    bench.submit()
    bench.submit()
    assert bench.passed_on == [1, 2]
    assert bench.stage.committed_index == 2


def test_the_end_waits_for_what_is_not_committed_yet() -> None:
    bench = CommitGateBench()
    bench.submit()
    bench.stage.stop()
    assert bench.next.stops == 0
    bench.stage.advance(1)
    assert bench.next.stops > 0
    assert bench.passed_on == [1]
    bench.stage.drain()


def test_an_applier_that_has_failed_is_told_to_whoever_advances_and_nothing_stays_held() -> None:
    bench = CommitGateBench()
    bench.submit()
    bench.submit()
    bench.next.stop()
    with pytest.raises(ChannelClosed):
        bench.stage.advance(2)
    assert bench.stage.closed
    assert bench.pool.lent == 0
    bench.stage.drain()


def test_blocks_are_taken_in_order_only() -> None:
    bench = CommitGateBench()
    bench.blocks.next()
    with pytest.raises(AssertionError, match="in order"):
        bench.submit()


STEPS = st.lists(st.one_of(st.just("durable"), st.integers(0, 12)), max_size=30)


@given(STEPS)
def test_whatever_comes_first_exactly_what_is_durable_and_committed_has_passed(steps: list[str | int]) -> None:
    bench = CommitGateBench(buffers=30)
    durable = commit = 0
    for step in steps:
        if isinstance(step, int):
            bench.stage.advance(step)
            commit = max(commit, step)
        else:
            bench.submit()
            durable += 1
        assert bench.passed_on == list(range(1, min(durable, commit) + 1))
        assert bench.stage.committed_index == min(durable, commit)


def test_an_index_that_advances_while_blocks_become_durable_loses_and_reorders_none() -> None:
    for schedule in preemptions(lines=14):
        bench = CommitGateBench()
        bench.stage._lock = turn_lock()

        def become_durable(bench: CommitGateBench = bench) -> None:
            bench.submit()
            bench.submit()

        def advance(bench: CommitGateBench = bench) -> None:
            bench.stage.advance(2)

        interleave(commit_gate_module.__file__, schedule, become_durable, advance)
        assert bench.passed_on == [1, 2], schedule


def test_a_block_that_the_applier_refuses_is_still_its_submitters() -> None:
    bench = CommitGateBench()
    bench.submit()
    bench.stage.advance(10)
    bench.next.closed = True
    refused = bench.blocks.next()
    with pytest.raises(ChannelClosed):
        bench.stage.submit(refused)
    refused.release()
    with pytest.raises(ChannelClosed):
        bench.stage.submit(bench.blocks.next())
    assert bench.stage.closed


@pytest.mark.parametrize("bound_s", [None, 2.0])
def test_an_end_lets_go_of_what_nobody_commits_in_time_and_says_which(
    bound_s: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    bench = CommitGateBench(clock=clock)
    bench.submit()
    bench.submit()
    if bound_s is not None:
        bench.stage.bound_drain(bound_s)
    bench.stage.stop()
    started_ns = clock.now_ns
    bench.stage.drain()
    assert (clock.now_ns - started_ns) / 1e9 == (bound_s or DRAIN_S_MAX)
    assert bench.passed_on == []
    assert bench.next_was_stopped
    assert bench.pool.lent == 0
    assert "blocks 1 to 2 were not committed" in caplog.text


def test_an_end_whose_blocks_are_committed_in_time_passes_them_on_and_says_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class CommittingClock(ManualClock):
        def wait(self, event: threading.Event, timeout_s: float) -> bool:
            bench.stage.advance(1)
            return super().wait(event, timeout_s)

    bench = CommitGateBench(clock=CommittingClock())
    bench.submit()
    bench.stage.stop()
    bench.stage.drain()
    assert bench.passed_on == [1]
    assert not caplog.records
