"""The benchmark of pools and allocators as a table for a terminal."""

from collections.abc import Sequence

from rich.table import Table

from loadtest.allocation_courses import ARENA
from loadtest.courses import Row
from loadtest.pool_bench import PoolBenchRun


def pool_table(run: PoolBenchRun) -> Table:
    """Lay out all rows, allocators of a size and a number of threads below each other."""
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


def _together(rows: Sequence[Row]) -> list[Row]:
    whats = list(dict.fromkeys(row.what for row in rows))
    return sorted(rows, key=lambda row: (whats.index(row.what), row.size, row.threads))  # stable: in order of measuring
