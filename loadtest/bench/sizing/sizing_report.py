"""Tables of the comparison of sizing policies, for a terminal."""

from collections.abc import Sequence

from rich.table import Table

from loadtest.bench.sizing.sizing_comparison import Row, Verdict
from loadtest.bench.sizing.sizing_policies import SHIPPED


def rows_table(rows: Sequence[Row]) -> Table:
    """Table of every policy's misses and idle memory, and the policies that dominate it."""
    table = Table(title="misses against idle memory, held-out demand", title_justify="left")
    for heading in ("demand", "policy", "misses/million", "idle/on loan", "beaten in both by"):
        table.add_column(heading, justify="right" if "/" in heading else "left")
    kind = ""
    for row in rows:
        if kind not in ("", row.kind):
            table.add_section()
        kind = row.kind
        table.add_row(
            kind,
            row.policy,
            f"{row.mean.miss_rate * 1e6:,.0f}",
            f"{row.mean.idle_ratio:.3f}",
            ", ".join(row.dominated_by[:1])
            + (f" and {len(row.dominated_by) - 1} more" if row.dominated_by[1:] else ""),
            style="bold" if row.policy == SHIPPED else None,
        )
    return table


def verdicts_table(verdicts: Sequence[Verdict]) -> Table:
    """Table of the cheapest policy at each price of a miss, with the shipped policy beside it."""
    table = Table(title="cheapest, by the price of a miss in idle objects x holding times", title_justify="left")
    for heading in ("demand", "price", "cheapest", "cost", "best not learned", "its cost", f"{SHIPPED} costs"):
        table.add_column(heading, justify="right" if "cost" in heading or heading == "price" else "left")
    for verdict in verdicts:
        table.add_row(
            verdict.kind,
            f"{verdict.price:,.0f}",
            verdict.cheapest,
            f"{verdict.cost:.3f}",
            verdict.best_unlearned,
            f"{verdict.unlearned_cost:.3f}",
            f"{verdict.shipped_cost:.3f}",
        )
    return table
