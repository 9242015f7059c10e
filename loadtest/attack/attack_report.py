"""Report of an attack for a terminal."""

from typing import Any

from rich.markup import escape
from rich.table import Table


def attack_tables(figures: dict[str, Any]) -> list[Table]:
    """What was done, what became of the honest calls, and the harm."""
    attacks = Table(title="attacks", show_header=False, title_justify="left")
    for name, count in figures["attacks"].items():
        attacks.add_row(name, f"{count:,}")
    honest = Table(title="honest client", show_header=False, title_justify="left")
    for name, count in figures["honest"].items():
        honest.add_row(name, f"{count:,}")
    latency, memory = figures["latency_ms"], figures["memory_mib"]
    reached = f"p50 {latency['p50']:.1f}, p99 {latency['p99']:.1f}, max {latency['max']:.1f}"
    honest.add_row("latency outside outages, ms", f"{reached}, the p99's bound is {latency['p99_bound']:g}")
    honest.add_row("the node's memory, MiB", f"peak {memory['peak']:,} (bound {memory['bound']:,})")
    harm = Table(title="harm", show_header=False, title_justify="left")
    for name, count in figures["harm"].items():
        harm.add_row(
            name,
            f"[red bold]{count:,}[/red bold]" if count else "0",
            *map(escape, figures["examples"].get(name, [])[:1]),
        )
    return [attacks, honest, harm]
