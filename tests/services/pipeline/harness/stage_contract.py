"""The contract of stages (`services.pipeline.stage`) as tests that every stage passes."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import pytest

from services.pipeline.channel import ChannelClosed
from services.pipeline.stage import Stage
from services.pipeline.threaded_stage import ThreadedStage
from tests.fakes import ManualExecutor, Parked
from tests.services.pipeline.harness.fakes import FakeIntake, FakePool


class StageBench(ABC):
    """A stage between fakes. Each unit of work that is submitted ends in one more unit `passed_on`."""

    def __init__(self) -> None:
        self.pool = FakePool()
        self.next = FakeIntake()

    stage: Stage

    @abstractmethod
    def submit(self) -> None:
        """Give the stage one unit of work."""

    @abstractmethod
    def work(self) -> None:
        """Let the stage do what it was given, as its thread would."""

    @property
    def passed_on(self) -> list[int]:
        """The units that have left the stage, by their numbers from 1 on."""
        return self.next.indexes

    @property
    def next_was_stopped(self) -> bool:
        """Whether the stage behind knows of the end."""
        return self.next.stops > 0

    def assert_left_empty(self) -> None:
        """Whatever the stage was given it has passed on or let go of."""
        assert self.stage.closed
        assert self.next_was_stopped
        assert self.pool.lent == len(self.next.blocks)


class StageContract(ABC):
    """Promises of all stages."""

    @pytest.fixture
    def bench(self) -> StageBench:
        return self.make_bench()

    @abstractmethod
    def make_bench(self) -> StageBench:
        """A stage that was started, if it has a thread."""

    def test_what_was_submitted_before_the_stop_is_passed_on_in_order_and_then_the_end(self, bench: StageBench) -> None:
        for _ in range(4):
            bench.submit()
        bench.stage.stop()
        bench.work()
        bench.stage.drain()
        assert bench.passed_on == [1, 2, 3, 4]
        bench.assert_left_empty()

    def test_the_end_comes_to_a_stage_without_work(self, bench: StageBench) -> None:
        bench.stage.stop()
        bench.work()
        bench.stage.drain()
        assert bench.passed_on == []
        bench.assert_left_empty()

    def test_a_stage_that_was_stopped_is_closed(self, bench: StageBench) -> None:
        assert not bench.stage.closed
        bench.stage.stop()
        assert bench.stage.closed

    def test_stopping_and_failing_again_changes_nothing(self, bench: StageBench) -> None:
        bench.submit()
        bench.stage.stop()
        bench.stage.stop()
        bench.work()
        bench.stage.stop()
        bench.stage.fail(OSError("late"))
        bench.stage.fail(OSError("later"))
        bench.stage.drain()
        assert bench.passed_on == [1]
        bench.assert_left_empty()

    def test_a_stage_that_fails_lets_go_of_what_it_was_given_and_passes_on_the_end(self, bench: StageBench) -> None:
        bench.submit()
        bench.submit()
        bench.stage.fail(OSError("elsewhere"))
        bench.work()
        bench.stage.drain()
        assert bench.passed_on == []
        bench.assert_left_empty()


class BlockStageContract(StageContract):
    """Promises of stages that are submitted to by a call."""

    def test_work_is_refused_after_the_stop_and_stays_the_submitters(self, bench: StageBench) -> None:
        bench.stage.stop()
        with pytest.raises(ChannelClosed):
            bench.submit()
        assert bench.pool.lent == 1, "the refused block is the submitter's to release"

    def test_work_is_refused_after_a_failure(self, bench: StageBench) -> None:
        bench.stage.fail(OSError("elsewhere"))
        with pytest.raises(ChannelClosed):
            bench.submit()


class ThreadedStageBench(StageBench):
    """A stage whose thread runs when the test says so."""

    stage: ThreadedStage

    def __init__(self) -> None:
        super().__init__()
        self.executor = ManualExecutor()
        self.failures: list[BaseException] = []

    def start(self) -> None:
        self.stage.start(self.executor, self.failures.append)

    def work(self) -> None:
        (parked,) = self.executor.parked
        if not parked.ended:
            parked.run()

    @abstractmethod
    def in_the_middle(self, act: Callable[[], None]) -> None:
        """Have ``act`` called while the stage works on its next unit; what it raises, the work raises."""


class ThreadedStageContract(StageContract):
    """Promises of stages that have a thread."""

    @abstractmethod
    def make_bench(self) -> ThreadedStageBench:
        """A stage that was started."""

    @pytest.fixture
    def threaded(self) -> ThreadedStageBench:
        return self.make_bench()

    def test_work_that_raises_fails_the_stage_with_its_error(self, threaded: ThreadedStageBench) -> None:
        error = OSError("broken")

        def fail() -> None:
            raise error

        for _ in range(3):
            threaded.submit()
        threaded.in_the_middle(fail)
        threaded.work()
        assert threaded.failures == [error]
        assert threaded.passed_on == []
        threaded.assert_left_empty()

    def test_a_stage_that_is_made_to_fail_in_the_middle_of_its_work_ends_without_more(
        self, threaded: ThreadedStageBench
    ) -> None:
        error = OSError("elsewhere")
        threaded.submit()
        threaded.in_the_middle(lambda: threaded.stage.fail(error))
        threaded.work()
        threaded.stage.drain()
        assert threaded.failures == [error]
        assert len(threaded.passed_on) <= 1
        threaded.assert_left_empty()

    def test_a_stage_whose_thread_never_started_is_drained_all_the_same(self, threaded: ThreadedStageBench) -> None:
        threaded.stage._running = None
        threaded.submit()
        threaded.stage.stop()
        threaded.stage.drain()
        assert threaded.passed_on == []
        threaded.assert_left_empty()

    def test_drain_waits_for_the_thread(self, threaded: ThreadedStageBench) -> None:
        parked: Parked = threaded.executor.parked[0]
        threaded.stage.stop()
        threaded.stage.drain()
        assert parked.ended


class PassingStageContract(ThreadedStageContract):
    """Promises of stages that have a stage behind them."""

    def test_a_stage_behind_that_has_failed_ends_this_one_without_an_error_of_its_own(
        self, threaded: ThreadedStageBench
    ) -> None:
        for _ in range(3):
            threaded.submit()
        threaded.next.stop()  # as it closes when it fails
        threaded.work()
        assert threaded.failures == []
        assert threaded.passed_on == []
        threaded.assert_left_empty()

    def test_a_stage_behind_that_fails_while_this_one_works_gets_nothing_more(
        self, threaded: ThreadedStageBench
    ) -> None:
        for _ in range(3):
            threaded.submit()
        threaded.in_the_middle(threaded.next.stop)
        threaded.work()
        assert threaded.failures == []
        assert threaded.passed_on == []
        threaded.assert_left_empty()
