"""All stages together over a fake ring, log and state: what reaches whom when one of them fails."""

from collections.abc import Callable
from concurrent.futures import Future

import numpy as np
import pytest

from penstock.contract.limits import BATCH_SIZE
from penstock.host.executor import THREADS, Executor
from replication.log.ballot import Ballot
from services.pipeline.applier import Applier
from services.pipeline.block_clock import BlockClock
from services.pipeline.channel import ChannelClosed
from services.pipeline.commit_gate import CommitGate
from services.pipeline.log_writer import LogWriter
from services.pipeline.pipeline import Pipeline
from services.pipeline.sequencer import Sequencer
from services.pipeline.stage import Stage
from services.telemetry.conditions import Conditions
from services.telemetry.counters import Counter, Counters
from services.telemetry.telemetry import NoTelemetry
from tests.fakes import ManualClock, ManualExecutor, Parked
from tests.services.pipeline.harness.fakes import (
    CLUSTER_ID,
    EPOCH,
    FakeLog,
    FakePool,
    FakeQueue,
    FakeResults,
    FakeState,
    Submitters,
)


class PipelineBench:
    """The stages as a node connects them; each runs when the test says so."""

    def __init__(self, executor: Executor | None = None) -> None:
        self.queue, self.log, self.state, self.pool = FakeQueue(), FakeLog(), FakeState(), FakePool()
        self.counters = Counters()
        self.submitters = Submitters(self.counters)
        self.executor = ManualExecutor()
        self.failures: list[BaseException] = []
        clock = ManualClock()
        pending_frames = self.submitters.pending_frames
        self.applier = Applier(
            self.state.as_state_machine(),
            FakeResults().as_results_file(),
            pending_frames,
            self.counters,
            NoTelemetry(),
            Conditions(clock),
            clock,
        )
        self.gate = CommitGate(self.applier, self.counters, 0)
        self.log_writer = LogWriter(self.log, self.counters, self.gate, self.gate.advance, clock)
        self.sequencer = Sequencer(
            self.queue,
            self.pool,
            self.log,
            FakeResults(),
            pending_frames,
            self.counters,
            self.log_writer,
            cluster_id=CLUSTER_ID,
            ballot=Ballot(EPOCH, 0),
            block_clock=BlockClock(clock, 0, 1),
            conditions=Conditions(clock),
            clock=clock,
        )
        self.pipeline = Pipeline(
            self.sequencer, self.log_writer, self.gate, self.applier, self.failures.append, executor or self.executor
        )
        self._frames = 0

    def publish(self, frames: int = 1) -> None:
        for _ in range(frames):
            self._frames += 1
            self.queue.publish(self.submitters.register(self._frames))

    def seal_one(self) -> None:
        """Let the sequencer seal one frame, and go on."""
        self.sequencer._seal_next(np.empty((BATCH_SIZE, 4), np.uint64))

    def run(self, name: str) -> None:
        """Run a stage to its end, unless it has ended."""
        (parked,) = [parked for parked in self.executor.parked if parked.name == name]
        parked.join()

    def seal_all(self) -> None:
        """Let the sequencer seal what is in the ring, and end."""
        self.sequencer.stop()
        self.run("sequencer")

    def assert_ended(self) -> None:
        assert self.sequencer.closed
        assert self.log_writer.closed
        assert self.gate.closed
        assert self.applier.closed
        assert self.pool.lent == 0, "whoever let go of a block returned its buffer, once"
        assert (
            self.counters[Counter.APPLIED_INDEX]
            <= self.counters[Counter.COMMITTED_INDEX]
            <= self.counters[Counter.DURABLE_INDEX]
            <= self.counters[Counter.SEALED_INDEX]
        )


@pytest.fixture
def bench() -> PipelineBench:
    bench = PipelineBench()
    bench.pipeline.start()
    return bench


def raising(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


def test_a_stop_brings_all_that_was_published_through_all_stages(bench: PipelineBench) -> None:
    bench.publish(5)
    bench.pipeline.stop()
    assert list(bench.submitters.answers) == [1, 2, 3, 4, 5]
    assert bench.counters[Counter.APPLIED_INDEX] == bench.gate.committed_index == 5
    assert bench.failures == []
    bench.assert_ended()


def test_more_frames_than_buffers_pass_once_buffers_come_back() -> None:
    """The ring holds what the pool has no buffers for; in threads, since every stage waits for another."""
    threaded = PipelineBench(THREADS)
    threaded.publish(100)
    threaded.pipeline.start()
    threaded.pipeline.stop()
    assert list(threaded.submitters.answers) == list(range(1, 101))
    threaded.assert_ended()


def test_the_applier_fails_while_the_log_writer_syncs(bench: PipelineBench) -> None:
    """Block 1 breaks the applier; by then the log writer is in the sync of block 2, which it finishes."""
    error = OSError("the state is full")
    bench.state.on_apply = raising(error)
    syncs = []

    def sync() -> None:
        syncs.append(bench.log.last_index)
        if len(syncs) == 1:
            bench.publish()
            bench.seal_all()
        else:
            bench.run("applier")

    bench.log.on_sync = sync
    bench.publish()
    # Block 1 is sealed alone: the log writer's first sync lets the sequencer seal block 2.
    bench.seal_one()
    bench.run("log-writer")
    bench.pipeline.stop()
    assert syncs == [1, 2]
    assert bench.failures == [error], "reported once, by the stage that failed"
    assert bench.counters[Counter.DURABLE_INDEX] == 2, "what was being written is in the log"
    assert bench.counters[Counter.APPLIED_INDEX] == 0
    bench.assert_ended()


def test_the_applier_fails_while_the_stages_before_it_wait_and_they_end_too(bench: PipelineBench) -> None:
    error = OSError("the state is full")
    bench.applier.fail(error)
    assert bench.failures == [error]
    assert bench.sequencer.closed
    assert bench.log_writer.closed
    assert bench.gate.closed
    bench.publish()
    bench.run("sequencer")
    assert len(bench.queue) == 1, "no frame is taken any more"
    bench.pipeline.stop()
    bench.assert_ended()


def test_the_applier_fails_while_the_sequencer_seals(bench: PipelineBench) -> None:
    error = OSError("the state is full")
    bench.state.on_apply = raising(error)
    bench.publish()
    bench.seal_one()
    bench.publish(3)

    def fail_the_applier() -> None:
        bench.queue.on_dequeue = lambda: None
        bench.log_writer.stop()
        bench.run("log-writer")
        bench.run("applier")

    bench.queue.on_dequeue = fail_the_applier
    bench.run("sequencer")
    bench.pipeline.stop()
    assert bench.failures == [error]
    assert len(bench.queue) == 2, "after the call that it was in, the sequencer takes no more frames"
    bench.assert_ended()


def test_the_log_fails_and_what_was_durable_before_is_applied_and_answered(bench: PipelineBench) -> None:
    error = OSError("no more disk")
    bench.publish()
    bench.seal_one()

    def sync() -> None:
        if bench.log.last_index == 2:
            raise error
        bench.publish()
        bench.seal_one()

    bench.log.on_sync = sync
    bench.run("log-writer")
    bench.publish()
    bench.pipeline.stop()
    assert bench.failures == [error]
    assert list(bench.submitters.answers) == [1]
    assert len(bench.submitters.pending_frames) == 2, "for the node to refuse: what became of frame 2 is unknown"
    bench.assert_ended()


def test_the_sequencer_fails_and_what_it_had_sealed_is_answered(bench: PipelineBench) -> None:
    error = OSError("fenced")
    bench.publish(2)
    bench.seal_one()
    bench.queue.on_dequeue = raising(error)
    bench.run("sequencer")
    bench.pipeline.stop()
    assert bench.failures == [error]
    assert list(bench.submitters.answers) == [1]
    bench.assert_ended()


def test_two_stages_that_fail_are_reported_once_and_leave_nothing_held(bench: PipelineBench) -> None:
    first, second = OSError("fenced"), OSError("the state is full")
    bench.publish(2)
    bench.seal_one()
    bench.queue.on_dequeue = raising(first)
    bench.run("sequencer")
    bench.state.on_apply = raising(second)
    bench.pipeline.stop()
    assert bench.failures == [first]
    bench.assert_ended()


def test_each_stage_keeps_the_contract_of_stages(bench: PipelineBench) -> None:
    stages: tuple[Stage, ...] = (bench.sequencer, bench.log_writer, bench.gate, bench.applier)
    assert bench.pipeline._stages == stages, "in the order in which a transaction passes them"


def test_a_query_after_the_end_is_refused(bench: PipelineBench) -> None:
    answer: Future[int] = bench.pipeline.query(lambda state: state.applied_index)
    bench.publish()
    bench.pipeline.stop()
    assert answer.result(0) == 0
    with pytest.raises(ChannelClosed):
        bench.pipeline.query(lambda state: state.applied_index)


@pytest.mark.parametrize("started", range(4))
def test_a_pipeline_of_which_some_threads_could_not_start_is_stopped_all_the_same(started: int) -> None:
    class FewThreads(ManualExecutor):
        def start(self, name: str, function: Callable[[], None]) -> Parked:
            if len(self.parked) == started:
                raise RuntimeError("no more threads")
            return super().start(name, function)

    bench = PipelineBench(FewThreads())
    query = bench.pipeline.query(lambda state: state.applied_index)
    if started < 3:
        with pytest.raises(RuntimeError):
            bench.pipeline.start()
    else:
        bench.pipeline.start()
    bench.pipeline.stop()
    assert query.done()
    bench.assert_ended()
