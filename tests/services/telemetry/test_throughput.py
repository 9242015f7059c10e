from services.telemetry.counters import Counter, Counters
from services.telemetry.throughput import PHASES, PhaseThroughput
from tests.fakes import ManualClock

SECOND_NS = 1_000_000_000


def test_targets_are_those_of_the_specification() -> None:
    assert {phase.name: phase.target_tps for phase in PHASES} == {
        "replication": 3_350_000,
        "pooling": 3_500_000,
        "txqueue": 3_750_000,
    }


def test_throughput_is_transactions_per_second() -> None:
    clock, counters = ManualClock(), Counters()
    throughput = PhaseThroughput(counters, clock)
    counters.add(Counter.TRANSACTIONS_DURABLE, 3000)
    clock.now_ns += 2 * SECOND_NS
    replication, pooling, _ = throughput.read()
    assert replication.achieved_tps == 1500
    assert replication.transactions == 3000
    assert pooling.achieved_tps == 0


def test_throughput_before_any_time_has_passed_is_zero() -> None:
    assert all(phase.achieved_tps == 0 for phase in PhaseThroughput(Counters(), ManualClock()).read())


def test_what_happened_before_the_window_does_not_count() -> None:
    clock, counters = ManualClock(), Counters()
    throughput = PhaseThroughput(counters, clock)
    counters.add(Counter.TRANSACTIONS_DURABLE, 1_000_000)
    for _ in range(20):
        clock.now_ns += SECOND_NS
        throughput.read()
    assert throughput.read()[0].achieved_tps == 0


def test_readers_at_different_rhythms_do_not_disturb_each_other() -> None:
    clock, counters = ManualClock(), Counters()
    throughput = PhaseThroughput(counters, clock)
    for step in range(1, 1000):
        clock.now_ns += SECOND_NS // 100
        counters.add(Counter.TRANSACTIONS_ENQUEUED, 10)
        txqueue = throughput.read()[2]
        if step > 100:
            assert abs(txqueue.achieved_tps - 1000) < 1e-6


def test_reading_often_keeps_few_samples() -> None:
    clock = ManualClock()
    throughput = PhaseThroughput(Counters(), clock)
    for _ in range(100_000):
        clock.now_ns += SECOND_NS // 1000
        throughput.read()
    assert len(throughput._samples) <= 12
