"""The benchmark of pools: that it measures what it says, with everything there is to compare with."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from loadtest.bench.pool.locked_pool import LockedPool
from loadtest.bench.pool.malloc_loops import BATCH, malloc_by_batch, malloc_one_by_one
from loadtest.bench.pool.pipeline_bench import measure_pipeline
from loadtest.bench.pool.pool_bench import GLIBC, PoolBenchRun, Ratio
from loadtest.bench.pool.pool_report import glibc_table, pipeline_table, pool_table
from loadtest.bench.pool.python_pools import GENERIC_POOL
from loadtest.bench.timed_loop import Row, measure
from loadtest.cli.bench import bench
from loadtest.load.workload import Workload
from tests.loadtest.tables import rows_of


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    plan = [
        "--sizes",
        "64,65536",
        "--threads",
        "1,2",
        "--seconds",
        "0.01",
        "--rounds",
        "1",
        "--pipeline",
        "0",
        "--json",
    ]
    ran = CliRunner().invoke(bench, ["pool", *plan], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def test_rows_say_what_was_measured_and_have_plausible_figures(figures: dict[str, Any]) -> None:
    for row in figures["rows"]:
        assert row.keys() == {"impl", "what", "size", "threads", "p50_ns", "p99_ns", "ops_per_s"}
        assert 0.3 < row["p50_ns"] <= row["p99_ns"], row
        assert row["ops_per_s"] > 0, row


def test_all_ways_are_measured_with_all_threads(figures: dict[str, Any]) -> None:
    seen = {(row["impl"], row["threads"]) for row in figures["rows"]}
    impls = {"penstock arena", GLIBC, "python bytearray", "numpy empty", "penstock pool", "locked pool"}
    assert {(impl, threads) for impl in impls for threads in (1, 2)} <= seen


def test_the_allocators_that_debian_has_are_measured(figures: dict[str, Any]) -> None:
    if figures["missing"] and "CI" not in os.environ:
        pytest.skip("; ".join(figures["missing"]))
    assert figures["missing"] == []
    assert {"jemalloc", "mimalloc"} <= {row["impl"] for row in figures["rows"]}


def test_the_arena_is_put_in_proportion_to_every_allocator_row_by_row(figures: dict[str, Any]) -> None:
    arena = {
        (row["what"], row["size"], row["threads"]): row["p50_ns"] for row in figures["rows"] if "arena" in row["impl"]
    }
    glibc = [row for row in figures["rows"] if row["impl"] == GLIBC]
    ratios = {
        (ratio["what"], ratio["size"], ratio["threads"]): ratio for ratio in figures["ratios"] if ratio["to"] == GLIBC
    }
    assert len(ratios) == len(glibc) == 2 * 2 * 2
    for row in glibc:
        key = row["what"], row["size"], row["threads"]
        assert ratios[key]["time_ratio"] == pytest.approx(arena[key] / row["p50_ns"], rel=0.05)


@pytest.mark.parametrize("size", [64, 16_384])
def test_the_loops_call_malloc_which_the_optimizer_may_not_remove(size: int) -> None:
    clock, samples, live = np.zeros(2, np.uint64), np.zeros(1_000, np.uint64), np.zeros(BATCH, np.uint64)
    at = clock.ctypes.data
    loops: list[Callable[[], int | np.int64]] = [
        lambda: malloc_one_by_one(size, time.monotonic_ns() + 2_000_000, samples, clock, at),
        lambda: malloc_by_batch(size, time.monotonic_ns() + 2_000_000, samples, live, clock, at),
    ]
    for loop in loops:
        loop()  # compiled, or loaded
        count = min(int(loop()), samples.size)
        assert count > 0
        assert np.median(samples[:count]) / BATCH > 1.0  # ns; two calls and no less
    assert np.unique(live).size == BATCH  # all of a batch were there at once


def test_operations_are_those_of_all_threads_together() -> None:
    def loop(end_ns: int, samples: np.ndarray[Any, np.dtype[np.uint64]]) -> int:
        samples[:10] = 1_000
        return 10

    assert measure([loop] * 3, batch=100, seconds=0.5) == (10.0, 10.0, 3 * 10 * 100 / 0.5)


def test_the_summary_takes_the_worst_hit_and_the_mean_ratio_of_the_size_classes_alone() -> None:
    rows = [Row("penstock arena", "allocate + free", size, 1, size / 10, 1.0, 1.0) for size in (32, 64, 65_536)]
    ratios = [
        Ratio(GLIBC, "allocate + free", *key) for key in ((32, 2, 0.2), (64, 2, 0.8), (64, 1, 9.0), (65_536, 2, 9.0))
    ]
    assert PoolBenchRun(rows, ratios).summary() == {
        "arena_hit_p50_ns_worst_size": 6.4,
        "arena_to_glibc_2_threads": 0.4,
        "pool_borrow_return_p50_ns": None,
        "fewest_threads": 1,
    }


def test_the_summary_takes_the_fewest_threads_that_were_measured() -> None:
    rows = [
        Row(impl, what, 64, threads, threads / 10, 1.0, 1.0)
        for impl, what in (("penstock arena", "allocate + free"), (GENERIC_POOL, "borrow + return"))
        for threads in (4, 2, 16)
    ]
    summary = PoolBenchRun(rows, []).summary()
    assert summary["fewest_threads"] == 2
    assert summary["arena_hit_p50_ns_worst_size"] == summary["pool_borrow_return_p50_ns"] == 0.2


def test_the_time_in_proportion_to_glibc_stands_in_a_table_by_size_and_way() -> None:
    ways = ["allocate + free", "allocate 100, free 100"]
    ratios = [
        Ratio(to, what, size, threads, round(size / 1000 + threads / 100, 2))
        for to in (GLIBC, "jemalloc")
        for what in ways
        for size in (65_536, 64)
        for threads in (1, 2)
    ]
    table = glibc_table(PoolBenchRun([], ratios))
    assert [list(column.cells) for column in table.columns] == [["64", "65,536"], *[["0.08", "65.56"]] * 2]
    assert [column.header for column in table.columns] == ["bytes", *ways]


def test_every_row_stands_in_a_table_beside_the_others_of_its_size_and_threads() -> None:
    what = "allocate + free"
    rows = [Row(impl, what, size, 2, 10.0, 20.5, 3e6) for impl in ("penstock arena", GLIBC) for size in (64, 65_536)]
    lines = rows_of(pool_table(PoolBenchRun(rows, [Ratio(GLIBC, what, 65_536, 2, 0.5)])))
    shown = [line[4:] for line in lines if line[:3] == what.split() and line[4:]]
    figures = ["10.0", "20.5", "3.00"]
    assert shown == [
        ["2", "penstock", "arena", *figures],
        ["2", "glibc", "malloc", *figures],
        ["2", "penstock", "arena", *figures],
        ["2", "glibc", "malloc", *figures, "0.50"],
    ]
    assert [line[3] for line in lines if line[:3] == what.split() and line[4:]] == ["64", "64", "65,536", "65,536"]


def test_the_pipelines_nodes_stand_in_a_table_with_the_ratios_above() -> None:
    pauses = {"p50": 0.1, "p99": 0.2, "p999": 0.3, "max": 0.4}
    node = {"tps": 2_500_000, "p99_ms": 7.5, "pauses": 1_000, "pause_ms": pauses, "resident_mib": [1, 140]}
    nodes = {variant: {**node, "resident_drift": 0.0125} for variant in ("pooled", "unpooled")}
    lines = rows_of(pipeline_table({**nodes, "seconds": 20.0, "tps_ratio": 1.25, "p99_ratio": 0.75}))
    assert {"1.25,", "0.75"} <= set(lines[0])
    for variant in ("pooled", "unpooled"):
        assert [variant, "2.50", "7.5", "1,000", "0.3", "0.4", "140", "+1.25%"] in lines


def test_the_locked_pool_lends_the_last_returned_and_refuses_a_second_return() -> None:
    pool = LockedPool(object, 2)
    first, second = pool.borrow_object(), pool.borrow_object()
    assert first is not second
    pool.return_object(second)
    pool.return_object(first)
    assert pool.borrow_object() is first
    pool.return_object(first)
    with pytest.raises(ValueError, match="returned before"):
        pool.return_object(first)


@pytest.mark.parametrize("option", [["--sizes", "64,x"], ["--threads", "0"]])
def test_lists_of_numbers_are_checked(option: list[str]) -> None:
    ran = CliRunner().invoke(bench, ["pool", *option])
    assert ran.exit_code == 2
    assert "number" in ran.output


def test_the_pipeline_is_loaded_with_pools_and_without_and_differs_in_what_is_made(tmp_path: Path) -> None:
    figures = measure_pipeline(tmp_path, 2.0, Workload(accounts=1_000))
    pooled, unpooled = figures["pooled"], figures["unpooled"]
    assert 0 < pooled["blocks_made"] <= 64  # as many as are under way at once
    assert unpooled["blocks_made"] == unpooled["blocks_borrowed"] > 64
    for node in (pooled, unpooled):
        assert node["tps"] > 0
        assert node["p99_ms"] > 0
        assert min(node["resident_mib"]) > 10
        assert node["pause_ms"]["p50"] <= node["pause_ms"]["max"]
    assert figures["tps_ratio"] == pytest.approx(pooled["tps"] / unpooled["tps"], rel=0.01)
