"""Report of the queue benchmark: rows, ratios and tables."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Final

from rich.table import Column, Table

from loadtest.bench.queue.contestant import Cell, Kind
from loadtest.bench.queue.queue_bench import Result

OURS: Final = "penstock"
CALLED: Final = "penstock from Python"
SHARDED: Final = "penstock, a ring each"


_Bounds = tuple[float | None, float | None]


@dataclass(frozen=True)
class Finding:
    """One of the figures that have targets."""

    what: str
    unit: str
    floor: float | None
    """None where the figure has no target."""
    aim: float | None
    """None where there is no upper target."""
    measured: float
    least: float
    most: float
    """Of all repetitions."""
    higher_is_better: bool = True

    @property
    def reached(self) -> str:
        """The target that it reached: aim, floor, or missed."""
        if self.floor is None:
            return ""
        sign = 1 if self.higher_is_better else -1
        if self.aim is not None and sign * self.measured >= sign * self.aim:
            return "aim"
        return "floor" if sign * self.measured >= sign * self.floor else "missed"


def rows(results: Sequence[Result]) -> list[dict[str, Any]]:
    """One dictionary for each queue and cell: medians over the repetitions, and the extremes of the throughput."""
    return [_row(result) for result in results]


def _row(result: Result) -> dict[str, Any]:
    rate = median(result.tx_per_s)
    row = {
        "impl": result.impl,
        "kind": result.cell.kind,
        "producers": result.cell.producers,
        "batch": result.cell.batch,
        "tx_per_s": round(rate),
        "ns_per_tx": round(1e9 / rate, 2) if rate else None,
        "tx_per_s_min": round(min(result.tx_per_s)),
        "tx_per_s_max": round(max(result.tx_per_s)),
    }
    if result.percentiles_ns:
        medians = [round(median(column), 1) for column in zip(*result.percentiles_ns, strict=True)]
        row |= dict(zip(("p50_ns", "p99_ns", "p999_ns"), medians, strict=True))
    return row


def findings(results: Sequence[Result]) -> list[Finding]:
    """The figures that have targets, of the cells that were run."""
    by = {(result.impl, result.cell): result for result in results}
    found: list[Finding] = []

    def add(what: str, unit: str, bounds: _Bounds, figures: Sequence[float], *, higher: bool = True) -> None:
        if figures:
            found.append(Finding(what, unit, *bounds, median(figures), min(figures), max(figures), higher))

    def ratio(impl: str, peer: str, cell: Cell) -> list[float]:
        ours, theirs = by.get((impl, cell)), by.get((peer, cell))
        return [] if ours is None or theirs is None else list(_ratios(ours, theirs))

    def times(impl: str, kind: Kind, percentile: int) -> list[float]:
        result = by.get((impl, Cell(kind, 1, 1)))
        return [] if result is None else [figures[percentile] for figures in result.percentiles_ns]

    for producers in (1, 2):
        cell = Cell("thread", producers, 1_000)
        to_moodycamel = ratio(OURS, "moodycamel", cell)
        add(f"batches of 1,000, {producers} producer threads, to moodycamel", "x", (0.8, 1.2), to_moodycamel)
    rate = by.get((OURS, Cell("process", 2, 10_000)))
    rates = [figure / 1e6 for figure in rate.tx_per_s] if rate else []
    add("batches of 10,000, 2 producer processes", "M tx/s", (60.0, None), rates)
    add("single record in compiled code, p50", "ns", (100, 20), times(OURS, "thread", 0), higher=False)
    add("single record in compiled code, p99", "ns", (500, 100), times(OURS, "thread", 1), higher=False)
    add("single record by one call from Python, p50", "ns", (700, 300), times(CALLED, "process", 0), higher=False)
    many, few = (by.get((OURS, Cell("thread", producers, 100))) for producers in (256, 2))
    add("256 producer threads, batches of 100, to 2", "x", (0.5, 0.9), list(_ratios(many, few)) if many and few else [])
    for batch in (1, 100):
        cell = Cell("thread", 2, batch)
        what = f"a ring for each of 2 producer threads, batches of {batch}, to one ring"
        add(what, "x", (None, None), ratio(SHARDED, OURS, cell))
    for peer, bound in (("multiprocessing.Queue", 100.0), ("faster-fifo", 20.0)):
        for producers in (1, 2):
            cell = Cell("process", producers, 1_000)
            what = f"batches of 1,000 from Python, {producers} producer processes, to {peer}"
            add(what, "x", (bound, None), ratio(CALLED, peer, cell))
            add(f"{what}, packed", "x", (None, None), ratio(CALLED, f"{peer}, packed", cell))
    return found


def _ratios(ours: Result, theirs: Result) -> Iterator[float]:
    """Ratios within each repetition, where the machine's speed drifts least."""
    for mine, other in zip(ours.tx_per_s, theirs.tx_per_s, strict=True):
        if other:
            yield mine / other


def report(results: Sequence[Result], conditions: dict[str, Any]) -> dict[str, Any]:
    """Everything, for JSON."""
    found = [{**asdict(finding), "reached": finding.reached} for finding in findings(results)]
    return {"conditions": conditions, "findings": found, "rows": rows(results)}


def rows_table(results: Sequence[Result]) -> Table:
    """Table of all rows."""
    table = Table("queue", "kind", *(_right(name) for name in ("producers", "batch", "M tx/s", "least", "most")))
    for name in ("ns/tx", "p50 ns", "p99 ns", "p99.9 ns"):
        table.add_column(name, justify="right")
    for row in rows(results):
        rates = [f"{row[key] / 1e6:,.2f}" for key in ("tx_per_s", "tx_per_s_min", "tx_per_s_max")]
        rest = [row.get(key) for key in ("ns_per_tx", "p50_ns", "p99_ns", "p999_ns")]
        cells = [row["impl"], row["kind"], str(row["producers"]), f"{row['batch']:,}", *rates]
        table.add_row(*cells, *("" if figure is None else f"{figure:,.1f}" for figure in rest))
    return table


def findings_table(found: Sequence[Finding]) -> Table:
    """Table of the figures that have targets."""
    table = Table("what", *(_right(name) for name in ("median", "least", "most", "floor", "aim")), "reached")
    for finding in found:
        figures = (finding.measured, finding.least, finding.most, finding.floor, finding.aim)
        texts = ("" if figure is None else f"{figure:,.2f} {finding.unit}" for figure in figures)
        table.add_row(finding.what, *texts, finding.reached)
    return table


def _right(name: str) -> Column:
    return Column(name, justify="right")
