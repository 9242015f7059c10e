"""The log writer, between fake blocks, a fake log and a fake commit gate."""

from collections.abc import Callable

from services.pipeline.log_writer import LogWriter
from services.telemetry.counters import Counter, Counters
from tests.fakes import ManualClock
from tests.services.pipeline.harness.fakes import RECORDS, BlockMaker, FakeLog
from tests.services.pipeline.harness.stage_contract import BlockStageContract, PassingStageContract, ThreadedStageBench


class LogWriterBench(ThreadedStageBench):
    def __init__(self) -> None:
        super().__init__()
        self.log = FakeLog()
        self.clock = ManualClock()
        self.counters = Counters()
        self.blocks = BlockMaker(self.pool, self.counters)
        self.durable: list[int] = []
        self.stage: LogWriter = LogWriter(self.log, self.counters, self.next, self.durable.append, self.clock)
        self.start()

    def submit(self) -> None:
        self.stage.submit(self.blocks.next())

    def work(self) -> None:
        if not self.stage.closed:
            self.stage.stop()
        super().work()

    def in_the_middle(self, act: Callable[[], None]) -> None:
        self.log.on_sync = act


class TestLogWriter(BlockStageContract, PassingStageContract):
    def make_bench(self) -> LogWriterBench:
        return LogWriterBench()


def test_one_sync_serves_all_blocks_that_wait() -> None:
    bench = LogWriterBench()
    syncs = []

    def submit_two_more_once() -> None:
        syncs.append(bench.passed_on)
        if len(syncs) == 1:
            bench.submit()
            bench.submit()
            bench.stage.stop()

    bench.log.on_sync = submit_two_more_once
    for _ in range(3):
        bench.submit()
    bench.executor.parked[0].run()
    assert bench.log.appends == [[1, 2, 3], [4, 5]]
    assert syncs == [[], [1, 2, 3]], "what is synced is passed on before the next group is taken"


def test_nothing_is_passed_on_or_reported_before_it_is_synced() -> None:
    bench = LogWriterBench()
    bench.submit()

    def look() -> None:
        assert bench.log.last_index == 1
        assert bench.passed_on == []
        assert bench.durable == []
        assert bench.counters[Counter.DURABLE_INDEX] == 0

    bench.log.on_sync = look
    bench.work()
    assert bench.failures == []
    assert bench.passed_on == [1]
    assert bench.durable == [1]
    assert bench.counters[Counter.DURABLE_INDEX] == 1
    assert bench.counters[Counter.TRANSACTIONS_DURABLE] == RECORDS


def test_durability_is_reported_once_a_group_and_after_its_blocks_were_passed_on() -> None:
    bench = LogWriterBench()
    for _ in range(3):
        bench.submit()
    reported: list[tuple[int, list[int]]] = []
    bench.stage._on_durable = lambda index: reported.append((index, bench.passed_on))
    bench.work()
    assert reported == [(3, [1, 2, 3])]


def test_the_time_of_durability_and_of_the_sync_are_the_clock_s() -> None:
    bench = LogWriterBench()
    bench.log.on_append = lambda: bench.clock.advance(2)
    bench.log.on_sync = lambda: bench.clock.advance(3)
    bench.submit()
    bench.work()
    (sealed,) = bench.next.blocks
    assert sealed.durable_ns == bench.clock.now_ns
    assert bench.counters[Counter.WRITE_NS] == 2_000_000_000
    assert bench.counters[Counter.SYNC_NS] == 3_000_000_000


def test_after_a_failed_write_what_was_durable_before_is_still_passed_on() -> None:
    bench = LogWriterBench()
    bench.submit()

    def fail_the_second() -> None:
        bench.submit()
        bench.log.on_sync = _raise

    bench.log.on_sync = fail_the_second
    bench.executor.parked[0].run()
    assert [str(error) for error in bench.failures] == ["broken"]
    assert bench.passed_on == [1]
    assert bench.durable == [1]
    bench.assert_left_empty()


def _raise() -> None:
    raise OSError("broken")


def test_a_hanging_write_or_sync_can_be_seen_from_outside() -> None:
    bench = LogWriterBench()
    lasted: list[float] = []

    def hang() -> None:
        bench.clock.advance(4)
        lasted.append(bench.stage.disk_wait.lasts_s())

    bench.log.on_append = bench.log.on_sync = hang
    bench.submit()
    bench.work()
    assert lasted == [4, 8]
    assert bench.stage.disk_wait.lasts_s() == 0
