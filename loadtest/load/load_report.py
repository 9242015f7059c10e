"""Report of a load: figures for JSON, and tables for a terminal."""

from dataclasses import asdict
from typing import Any, Final

import numpy as np
from rich.table import Table

from loadtest.load.coordinator import LoadRun
from loadtest.load.frame_outcomes import ACCEPTED, REFUSED, UNKNOWN, latencies, within
from loadtest.verify.verify_log import Verification

RESULT_NAMES: Final = (
    "",
    "ok",
    "key_not_found",
    "version_mismatch",
    "overflow",
    "below_floor",
    "insufficient_funds",
    "account_not_found",
    "same_account",
    "account_exists",
    "linked_failed",
    "sequence_expired",
    "sessions_exhausted",
    "sequence_reused",
)
_BUSY_SHARE: Final = 0.95
_LAG_MS_MAX: Final = 5.0
_ATTEMPTED_SHARE_MIN: Final = 0.99


def summarize(run: LoadRun) -> dict[str, Any]:
    """All figures of a run, for its measured window.

    ``attempted`` transactions were handed to a client, ``accepted`` ones have a receipt, ``committed`` ones have one
    that says OK. Latency is from the due time (open loop) or the sending (closed loop) to the receipt, in
    milliseconds; in an open loop it is that of transactions which were *due* in the window.
    """
    plan = run.plan
    start, end = run.window_start_ns, run.window_end_ns
    seconds = (end - start) / 1e9
    frames = np.concatenate([result.frames for result in run.results])
    answered = within(frames[frames["outcome"] == ACCEPTED], "received_ns", start, end)
    attempted = within(frames, "sent_ns", start, end)
    due = within(frames, "last_due_ns" if plan.rate else "received_ns", start, end)
    histogram = latencies(due)
    percentiles = {
        name: round(histogram.get_value_at_percentile(share) / 1000, 3)
        for name, share in (("p50", 50), ("p90", 90), ("p99", 99), ("p999", 99.9))
    }
    codes = np.sum([result.codes for result in run.results], axis=0)
    committed = int(answered["succeeded"].sum())
    return {
        "target": plan.target,
        "loop": "open" if plan.rate else "closed",
        "rate": plan.rate or None,
        "in_flight": None if plan.rate else plan.in_flight,
        "workers": plan.workers,
        "workload": asdict(run.assignments[0].workload),
        "seconds": round(seconds, 3),
        "planned_seconds": plan.seconds,
        "warmup_s": plan.warmup_s,
        "committed": committed,
        "tps": round(committed / seconds),
        "attempted_tps": round(int(attempted["count"].sum()) / seconds),
        "accepted_tps": round(int(answered["count"].sum()) / seconds),
        "latency_ms": {**percentiles, "max": round(histogram.get_max_value() / 1000, 3)},
        "results_with_warmup": {_result_name(code): int(count) for code, count in enumerate(codes) if count},
        "frames_refused": int((frames["outcome"] == REFUSED).sum()),
        "frames_unknown": int((frames["outcome"] == UNKNOWN).sum()),
        "first_error": next((result.first_error for result in run.results if result.first_error), None),
        **_generator_figures(run),
    }


def _result_name(code: int) -> str:
    name = RESULT_NAMES[code & 127] if code & 127 < len(RESULT_NAMES) else f"code_{code & 127}"
    return f"duplicate_{name}" if code & 128 else name


def _generator_figures(run: LoadRun) -> dict[str, Any]:
    """Load of the generator itself, and whether it was the bottleneck.

    It was the bottleneck of a closed loop where an event loop was busy nearly all the time, and of an open loop where
    frames left late, or fewer left than were due.
    """
    rate, seconds = run.plan.rate, (run.window_end_ns - run.window_start_ns) / 1e9
    busy = max(result.loop_share for result in run.results)
    lag_ms = 0.0
    limited = busy > _BUSY_SHARE
    sent = [within(o.frames, "sent_ns", run.window_start_ns, run.window_end_ns) for o in run.results]
    frames = np.concatenate(sent)
    if rate and len(frames):
        lag_ms = float(np.percentile(frames["sent_ns"] - frames["last_due_ns"], 99)) / 1e6
        limited |= lag_ms > _LAG_MS_MAX or float(frames["count"].sum()) < _ATTEMPTED_SHARE_MIN * rate * seconds
    return {
        "generator_limited": limited,
        "generator_busy_share": round(busy, 3),
        "generator_lag_p99_ms": round(lag_ms, 3) if rate else None,
        "generator_cpu_s": round(sum(result.cpu_s for result in run.results), 3),
    }


def verification_figures(verdict: Verification) -> dict[str, Any]:
    """A verdict for JSON."""
    return {
        "verified": verdict.verified,
        "transactions": verdict.transactions,
        "blocks": verdict.blocks,
        "receipts": verdict.receipts,
        "acknowledged": verdict.acknowledged,
        "seconds": round(verdict.seconds, 3),
        "effects_digest": f"{verdict.effects_digest:016x}",
        "checks": verdict.checks,
        "problems": verdict.problems,
        "problem_count": verdict.problem_count,
    }


def load_table(figures: dict[str, Any]) -> Table:
    """The most important figures of a load."""
    table = Table(title=f"{figures['loop']} loop, {figures['seconds']:g} s", show_header=False, title_justify="left")
    latency = figures["latency_ms"]
    if figures["seconds"] < figures["planned_seconds"]:
        table.add_row("ended early", f"after {figures['seconds']:g} of {figures['planned_seconds']:g} s")
    offered = f"{figures['rate']:,.0f} offered" if figures["rate"] else f"{figures['in_flight']} frames in flight"
    table.add_row("load", f"{offered}, {figures['workers']} worker(s), frames of {figures['workload']['frame']:,}")
    table.add_row("committed", f"{figures['committed']:,} transactions, [bold]{figures['tps']:,} TPS[/bold]")
    table.add_row("attempted / accepted", f"{figures['attempted_tps']:,} / {figures['accepted_tps']:,} TPS")
    table.add_row("latency, ms", "  ".join(f"{name} {value:g}" for name, value in latency.items()))
    table.add_row(
        "results, warm-up included",
        "  ".join(f"{name} {count:,}" for name, count in figures["results_with_warmup"].items()) or "none",
    )
    if figures["frames_refused"] or figures["frames_unknown"]:
        table.add_row("frames refused / unknown", f"{figures['frames_refused']:,} / {figures['frames_unknown']:,}")
        table.add_row("first error", str(figures["first_error"]))
    busy = f"{figures['generator_busy_share']:.0%} busy"
    table.add_row("generator", f"[yellow]was the limit[/yellow], {busy}" if figures["generator_limited"] else busy)
    return table


def verification_table(figures: dict[str, Any]) -> Table:
    """A verdict, and the checks behind it."""
    verdict = "[green]verified[/green]" if figures["verified"] else "[red bold]NOT verified[/red bold]"
    table = Table(title=f"verification: {verdict}", show_header=False, title_justify="left")
    table.add_row("log", f"{figures['transactions']:,} transactions in {figures['blocks']:,} blocks")
    table.add_row("receipts", f"{figures['receipts']:,}, for {figures['acknowledged']:,} transactions")
    table.add_row("checked", "\n".join(figures["checks"]) or "nothing")
    if figures["problem_count"]:
        table.add_row(f"{figures['problem_count']} problems", "\n".join(figures["problems"]))
    table.add_row("took", f"{figures['seconds']:g} s")
    return table
