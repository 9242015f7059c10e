"""The benchmark of queues runs every queue, finds losses, and reports what was asked for."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from loadtest.bench.queue.contestant import Cell, Timing, running
from loadtest.bench.queue.penstock_queue import CompiledPenstockQueue
from loadtest.bench.queue.queue_bench import Result
from loadtest.bench.queue.queue_report import Finding, findings, findings_table, rows, rows_table
from loadtest.bench.queue.timed_run import (
    MEASURED_NS,
    RecordsLost,
    check_none_lost,
    make_control,
    record_progress,
    report_sent,
    start_producers,
    wait_for_start,
)
from tests.loadtest.tables import rows_of

IN_CI = os.environ.get("CI") == "true"
BOOST = Path("/usr/include/boost/lockfree/queue.hpp")
MOODYCAMEL = Path("/usr/include/concurrentqueue/concurrentqueue.h")
OURS = {"penstock", "penstock from Python", "penstock, a ring each"}
PYTHON = {"multiprocessing.Queue", "multiprocessing.Queue, packed", "queue.SimpleQueue", "queue.SimpleQueue, packed"}
FASTER_FIFO = {"faster-fifo", "faster-fifo, packed"}
CPP = {"moodycamel", "boost::lockfree::queue", "boost::lockfree::spsc_queue"}


def expected_queues() -> set[str]:
    """All of them in CI; elsewhere those that can be built."""
    queues = OURS | PYTHON
    if IN_CI or importlib.util.find_spec("faster_fifo"):
        queues |= FASTER_FIFO
    if IN_CI or (shutil.which("g++") and BOOST.exists() and MOODYCAMEL.exists()):
        queues |= CPP
    return queues


@pytest.fixture(scope="module")
def quick() -> dict[str, Any]:
    """In a process of its own: the benchmark forks, which a process that has used gRPC must not."""
    command = [str(Path(sys.executable).with_name("penstock")), "bench", "queue", "--quick", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 0, ended.stderr
    report: dict[str, Any] = json.loads(ended.stdout)
    return report


def test_the_quick_mode_runs_every_queue_with_threads_and_with_processes_where_it_can(quick: dict[str, Any]) -> None:
    assert {row["impl"] for row in quick["rows"]} == expected_queues()
    processes = {row["impl"] for row in quick["rows"] if row["kind"] == "process"}
    threads_only = {"moodycamel", "queue.SimpleQueue", "queue.SimpleQueue, packed"}
    assert processes == expected_queues() - threads_only
    assert bool(quick["conditions"]["missing"]) == (expected_queues() != OURS | PYTHON | FASTER_FIFO | CPP)


def test_every_row_has_the_throughput_and_single_operations_have_percentiles(quick: dict[str, Any]) -> None:
    for row in quick["rows"]:
        assert {"impl", "kind", "producers", "batch", "tx_per_s", "ns_per_tx"} <= row.keys()
        assert ("p50_ns" in row) == (row["batch"] == 1)
        if row["batch"] == 1:
            assert 0 <= row["p50_ns"] <= row["p99_ns"] <= row["p999_ns"]
    assert all(row["tx_per_s"] > 0 for row in quick["rows"] if row["impl"] == "penstock")


def test_the_conditions_stand_beside_the_figures(quick: dict[str, Any]) -> None:
    assert {
        "cores",
        "cpu",
        "kernel",
        "versions",
        "commit",
        "repeats",
        "seconds",
        "timer_ns",
        "cache_line_latency_ns",
    } <= quick["conditions"].keys()


@pytest.mark.parametrize(
    ("sent", "received"),
    [([3, 2], [0, 1, 2, 1 << 40]), ([3], [0, 1, 1]), ([1], [0, 1]), ([2], [0, 1 | 1 << 50])],
    ids=["lost", "repeated instead of another", "one too many", "damaged"],
)
def test_a_queue_that_does_not_deliver_what_was_sent_is_found_out(sent: list[int], received: list[int]) -> None:
    control = make_control(len(sent), 0.0, 0.0)
    record_progress(control, len(received), sum(received))
    for number, count in enumerate(sent):
        report_sent(control, number, count)
    with pytest.raises(RecordsLost):
        check_none_lost(control)


def test_a_producer_that_did_not_finish_is_found_out() -> None:
    control = make_control(2, 0.0, 0.0)
    report_sent(control, 0, 0)
    with pytest.raises(RecordsLost, match="1 of 2 producers"):
        check_none_lost(control)


def test_a_queue_that_delivers_what_was_sent_passes() -> None:
    control = make_control(2, 0.0, 0.0)
    control[MEASURED_NS] = 0

    def work(number: int) -> None:
        wait_for_start(control)
        report_sent(control, number, 2)

    with running("thread", 2, work):
        start_producers(control)
        assert record_progress(control, 4, 0 + 1 + (1 << 40) + ((1 << 40) + 1))
    while record_progress(control, 0, 0):
        pass
    assert check_none_lost(control).records >= 0


@pytest.mark.parametrize("timed", [False, True])
def test_256_producers_lose_nothing_in_batches_of_any_size(timed: bool) -> None:
    for batch in (1, 10_000):
        outcome = CompiledPenstockQueue().run(Cell("thread", 256, batch), Timing(0.0, 0.02, timed))
        assert (outcome.percentiles_ns is not None) == timed


def result(impl: str, cell: Cell, *rates: float) -> Result:
    return Result(impl, cell, rates, ())


def test_rows_are_medians_with_extremes() -> None:
    (row,) = rows([result("penstock", Cell("thread", 1, 100), 1e6, 9e6, 2e6)])
    assert (row["tx_per_s"], row["tx_per_s_min"], row["tx_per_s_max"]) == (2_000_000, 1_000_000, 9_000_000)
    assert row["ns_per_tx"] == 500
    assert "p50_ns" not in row


def test_ratios_are_taken_within_a_repetition_and_judged() -> None:
    cell = Cell("thread", 1, 1_000)
    (finding,) = findings([result("penstock", cell, 1.0, 10.0, 6.0), result("moodycamel", cell, 1.0, 20.0, 2.0)])
    assert (finding.measured, finding.least, finding.most, finding.reached) == (1.0, 0.5, 3.0, "floor")


@pytest.mark.parametrize(("rate", "reached"), [(0.7, "missed"), (0.8, "floor"), (1.3, "aim")])
def test_a_finding_says_how_far_it_came(rate: float, reached: str) -> None:
    cell = Cell("thread", 2, 1_000)
    (finding,) = findings([result("penstock", cell, rate), result("moodycamel", cell, 1.0)])
    assert finding.reached == reached


def test_the_tables_show_medians_extremes_and_what_was_reached() -> None:
    cell = Cell("thread", 2, 1)
    timed = Result("penstock", cell, (1e6, 2e6, 4e6), ((10.0, 20.0, 30.0),) * 3)
    lines = rows_of(rows_table([timed, result("moodycamel", Cell("thread", 1, 1_000), 5e6)]))
    assert ["penstock", "thread", "2", "1", "2.00", "1.00", "4.00", "500.0", "10.0", "20.0", "30.0"] in lines
    assert ["moodycamel", "thread", "1", "1,000", "5.00", "5.00", "5.00", "200.0"] in lines
    found = [Finding("speed", "x", 0.5, 1.0, 0.75, 0.7, 0.8), Finding("other", "ns", None, None, 1.0, 1.0, 1.0)]
    lines = rows_of(findings_table(found))
    assert ["speed", "0.75", "x", "0.70", "x", "0.80", "x", "0.50", "x", "1.00", "x", "floor"] in lines
    assert ["other", "1.00", "ns", "1.00", "ns", "1.00", "ns"] in lines
