"""Latency is counted from the time at which a transaction was due."""

from typing import Any

import numpy as np
import pytest

from loadtest.load.frame_outcomes import ACCEPTED, FRAME_OUTCOME, REFUSED, latencies, within

MS = 1_000_000


def receipts(*rows: dict[str, Any]) -> np.ndarray[Any, Any]:
    table = np.zeros(len(rows), FRAME_OUTCOME)
    for row, values in zip(table, rows, strict=True):
        for name, value in values.items():
            row[name] = value
    return table


def test_every_transaction_of_a_frame_counts_from_its_own_due_time() -> None:
    histogram = latencies(receipts({"count": 1000, "first_due_ns": 0, "last_due_ns": 16 * MS, "received_ns": 20 * MS}))
    assert histogram.get_total_count() == 1000
    assert histogram.get_max_value() == pytest.approx(20_000, rel=0.002)
    assert histogram.get_min_value() == pytest.approx(5_000, rel=0.002), "the last group of 16 was due after 15 ms"
    assert histogram.get_value_at_percentile(50) == pytest.approx(13_000, rel=0.1)


def test_a_stall_shows_in_all_that_fell_due_meanwhile() -> None:
    stalled = [
        {"count": 10, "first_due_ns": i * MS, "last_due_ns": i * MS, "received_ns": 100 * MS} for i in range(100)
    ]
    histogram = latencies(receipts(*stalled))
    assert histogram.get_value_at_percentile(50) == pytest.approx(50_000, rel=0.03)
    assert histogram.get_max_value() == pytest.approx(100_000, rel=0.002)


def test_frames_that_were_never_answered_count_until_they_were_given_up() -> None:
    rows = [{"count": 3, "outcome": ACCEPTED, "received_ns": MS}, {"count": 5, "outcome": REFUSED, "received_ns": MS}]
    assert latencies(receipts(*rows)).get_total_count() == 8


def test_warm_up_is_left_out_by_the_window() -> None:
    table = receipts(*({"received_ns": at} for at in (9, 10, 19, 20)))
    assert list(within(table, "received_ns", 10, 20)["received_ns"]) == [10, 19]
