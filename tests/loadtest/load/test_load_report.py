"""Figures are those of the measured window, and say what was meant."""

import json
from typing import Any

import numpy as np
import pytest

from loadtest.load.coordinator import LoadPlan, LoadRun
from loadtest.load.frame_outcomes import FRAME_OUTCOME, REFUSED, UNKNOWN
from loadtest.load.load_report import summarize
from loadtest.load.worker import WorkerResult
from loadtest.load.workload import Workload, WorkloadError

SECOND = 1_000_000_000


def outcome(rows: list[dict[str, Any]], **fields: Any) -> WorkerResult:
    table = np.zeros(len(rows), FRAME_OUTCOME)
    for row, values in zip(table, rows, strict=True):
        for name, value in values.items():
            row[name] = value
    codes = np.zeros(256, np.int64)
    codes[1], codes[6], codes[129] = 9, 2, 1
    return WorkerResult(1, table, codes, **fields)


def run_of(*outcomes: WorkerResult, rate: float = 0.0) -> LoadRun:
    plan = LoadPlan("unix:/x", Workload(frame=100), rate=rate, seconds=2.0, workers=len(outcomes))
    return LoadRun(plan, plan.assignments(), list(outcomes), 10 * SECOND, 12 * SECOND)


def frame(at_s: float, sent_s: float | None = None, **fields: Any) -> dict[str, Any]:
    sent = int((at_s - 0.004 if sent_s is None else sent_s) * SECOND)
    due = {"first_due_ns": sent, "last_due_ns": sent}
    return {"count": 100, "succeeded": 100, "sent_ns": sent, "received_ns": int(at_s * SECOND), **due, **fields}


def test_only_the_window_counts_and_workers_add_up() -> None:
    one = outcome([frame(9.9), frame(10.5), frame(11.5, succeeded=60), frame(12.0, sent_s=11.996)])
    two = outcome([frame(11.0), frame(11.1, outcome=REFUSED, succeeded=0), frame(11.2, outcome=UNKNOWN, succeeded=0)])
    figures = summarize(run_of(one, two))
    assert (figures["committed"], figures["tps"]) == (260, 130)
    assert figures["accepted_tps"] == 150
    assert figures["attempted_tps"] == 300
    assert (figures["frames_refused"], figures["frames_unknown"]) == (1, 1)
    assert figures["latency_ms"]["p50"] == pytest.approx(4.0, rel=0.01)
    assert figures["results_with_warmup"] == {"ok": 18, "insufficient_funds": 4, "duplicate_ok": 2}
    assert json.loads(json.dumps(figures)) == figures


def test_an_open_loop_counts_the_latency_of_what_was_due_in_the_window_even_where_the_answer_came_later() -> None:
    late = outcome([frame(13.5, sent_s=11.5)], loop_share=0.2)
    figures = summarize(run_of(late, rate=50.0))
    assert figures["committed"] == 0
    assert figures["latency_ms"]["max"] == pytest.approx(2000, rel=0.01)
    assert not figures["generator_limited"]


@pytest.mark.parametrize(
    ("rate", "rows", "busy"),
    [
        (0.0, [frame(11.0)], 0.99),
        (50.0, [frame(11.0, first_due_ns=0, last_due_ns=int(10.98 * SECOND))], 0.1),
        (51.0, [frame(11.0)], 0.1),
    ],
    ids=["its event loop was busy", "frames left late", "fewer left than were due"],
)
def test_a_generator_that_was_the_limit_says_so(rate: float, rows: list[dict[str, Any]], busy: float) -> None:
    assert summarize(run_of(outcome(rows, loop_share=busy), rate=rate))["generator_limited"]


def test_a_run_without_an_answer_has_figures_too() -> None:
    figures = summarize(run_of(outcome([frame(11.0, outcome=UNKNOWN, succeeded=0)], first_error="gone")))
    assert (figures["tps"], figures["first_error"]) == (0, "gone")


def test_a_plan_whose_clients_could_not_retry_is_refused() -> None:
    with pytest.raises(WorkloadError, match="--workers"):
        LoadPlan("unix:/x", Workload(), in_flight=14)


def test_an_open_loops_frames_hold_what_falls_due_in_a_linger() -> None:
    (first, second) = LoadPlan("unix:/x", Workload(), rate=1_000_000, workers=2, linger_ms=2).assignments()
    assert (first.rate, first.workload.frame) == (500_000, 1000)
    assert first.client_id != second.client_id
