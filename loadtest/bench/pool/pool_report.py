"""Tables of the benchmark of pools and allocators, for a terminal."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from loadtest.bench.pool.allocator_loops import ARENA
from loadtest.bench.pool.pipeline_bench import POOLED, UNPOOLED
from loadtest.bench.pool.pool_bench import AIMED_THREADS, GLIBC, PoolBenchRun
from loadtest.bench.timed_loop import Row


def pool_table(run: PoolBenchRun) -> Table:
    """Table of all rows, grouped by size and number of threads."""
    ratios = {(ratio.to, ratio.what, ratio.size, ratio.threads): ratio.time_ratio for ratio in run.ratios}
    table = Table(title="one operation is a pair", title_justify="left")
    for heading in ("what", "bytes", "threads", "implementation", "p50 ns", "p99 ns", "M pairs/s", f"{ARENA} / this"):
        table.add_column(heading, justify="left" if heading in ("what", "implementation") else "right")
    before = None
    for row in _together(run.rows):
        if before not in (None, (row.what, row.size, row.threads)):
            table.add_section()
        before = (row.what, row.size, row.threads)
        ratio = ratios.get((row.impl, *before))
        table.add_row(
            row.what,
            f"{row.size:,}",
            str(row.threads),
            row.impl,
            f"{row.p50_ns:,.1f}",
            f"{row.p99_ns:,.1f}",
            f"{row.ops_per_s / 1e6:,.2f}",
            "" if ratio is None else f"{ratio:.2f}",
        )
    return table


def glibc_table(run: PoolBenchRun) -> Table:
    """Table of the arena's time as a share of glibc's: a row for each size, a column for each kind of loop."""
    aimed = [ratio for ratio in run.ratios if ratio.to == GLIBC and ratio.threads == AIMED_THREADS]
    ways = list(dict.fromkeys(ratio.what for ratio in aimed))
    table = Table(title=f"{ARENA} / {GLIBC}, {AIMED_THREADS} threads", title_justify="left")
    for heading in ("bytes", *ways):
        table.add_column(heading, justify="right")
    for size in sorted({ratio.size for ratio in aimed}):
        of_size = {ratio.what: f"{ratio.time_ratio:.2f}" for ratio in aimed if ratio.size == size}
        table.add_row(f"{size:,}", *(of_size[way] for way in ways))
    return table


def pipeline_table(figures: dict[str, Any]) -> Table:
    """Table of what :func:`loadtest.bench.pool.pipeline_bench.measure_pipeline` returned."""
    title = f"the pipeline, loaded for {figures['seconds']:g} s each; pooled / unpooled: "
    title += f"TPS {figures['tps_ratio']:.2f}, p99 {figures['p99_ratio']:.2f}"
    table = Table(title=title, title_justify="left")
    for heading in ("node", "M TPS", "p99 ms", "pauses", "p99.9 ms", "longest ms", "resident MiB", "drift"):
        table.add_column(heading, justify="left" if heading == "node" else "right")
    for variant in (POOLED, UNPOOLED):
        row = figures[variant]
        table.add_row(
            variant,
            f"{row['tps'] / 1e6:.2f}",
            f"{row['p99_ms']:g}",
            f"{row['pauses']:,}",
            f"{row['pause_ms']['p999']:g}",
            f"{row['pause_ms']['max']:g}",
            f"{row['resident_mib'][-1]:g}",
            f"{row['resident_drift']:+.2%}",
        )
    return table


def _together(rows: Sequence[Row]) -> list[Row]:
    whats = list(dict.fromkeys(row.what for row in rows))
    return sorted(rows, key=lambda row: (whats.index(row.what), row.size, row.threads))  # stable: in order of measuring
