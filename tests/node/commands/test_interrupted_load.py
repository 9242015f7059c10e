"""`penstock load` goes on across a restart of its node, and a signal ends it with a report of what was done."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from loadtest.node.child_process import command_of_child
from tests.eventually import eventually
from tests.node.serve_process import ServeProcess


class Load:
    """``penstock load`` with its verification, as a process in a group of its own, as a terminal starts it."""

    def __init__(self, node: ServeProcess, *options: str) -> None:
        self.out = node.directory / "load.json"
        self.output = node.directory / "load.log"
        command = command_of_child(
            sys.executable, "-m", "services.cli.main", "load", "--target", node.target, "--accounts", "1000",
            "--frame", "1000", "--in-flight", "2", "--warmup", "0", "--json", str(self.out),
            "--verify", str(node.directory / "data"), *options,
        )  # fmt: skip
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)

    def ends(self, code: int) -> dict[str, Any]:
        assert self.process.wait(90) == code, self.output.read_text()
        figures: dict[str, Any] = json.loads(self.out.read_text())
        return figures


@contextmanager
def load_under_way(node: ServeProcess, *options: str) -> Iterator[Load]:
    load = Load(node, *options)
    try:
        eventually(lambda: node.status().applied_transactions > 20_000, "the load", timeout_s=90)
        yield load
    finally:
        if load.process.poll() is None:
            os.killpg(load.process.pid, signal.SIGKILL)
            load.process.wait()


@pytest.mark.parametrize(
    ("number", "code", "options"),
    [
        pytest.param(
            signal.SIGINT,
            130,
            ["--rate", "50000", "--workers", "2"],
            id="Ctrl-C in an open loop",
            marks=pytest.mark.slow,
        ),
        pytest.param(signal.SIGTERM, 143, [], id="closed loop"),
    ],
)
def test_a_signal_ends_a_load_with_a_verified_report_of_what_was_done(
    node: ServeProcess, number: signal.Signals, code: int, options: list[str]
) -> None:
    with load_under_way(node, "--seconds", "600", *options) as load:
        os.killpg(load.process.pid, number)  # a terminal signals the whole group
        figures = load.ends(code)
    assert figures["ended_by"] == number.name
    assert 0 < figures["seconds"] < figures["planned_seconds"] == 600
    assert figures["committed"] > 10_000
    assert figures["tps"] == pytest.approx(figures["committed"] / figures["seconds"], rel=0.01)
    assert (figures["frames_refused"], figures["frames_unknown"]) == (0, 0)
    assert figures["verification"]["verified"], figures["verification"]["problems"]
    shown = load.output.read_text()
    assert "ended early" in shown
    assert "verification: verified" in shown
    assert "Traceback" not in shown


@pytest.mark.slow
def test_a_load_goes_on_across_a_restart_of_its_node(node: ServeProcess) -> None:
    with load_under_way(node, "--seconds", "600") as load:
        node.stop()
        node.start()
        before = node.status().applied_transactions
        eventually(lambda: node.status().applied_transactions > before + 20_000, "the load again", timeout_s=90)
        load.process.send_signal(signal.SIGINT)
        figures = load.ends(130)
    assert figures["verification"]["verified"], figures["verification"]["problems"]
    shown = load.output.read_text()
    assert re.search(r"connection to .* lost", shown), shown
    assert "Traceback" not in shown


@pytest.mark.slow
def test_a_load_whose_node_is_gone_ends_by_a_signal_and_verifies_what_the_log_holds(node: ServeProcess) -> None:
    with load_under_way(node, "--seconds", "600") as load:
        node.kill()
        load.process.send_signal(signal.SIGINT)
        figures = load.ends(130)
    assert figures["committed"] > 10_000
    assert 1 <= figures["frames_unknown"] <= 2, "those that were in flight"
    assert figures["verification"]["verified"], figures["verification"]["problems"]
    assert "without its digests" in " ".join(load.output.read_text().split())


@pytest.mark.slow
def test_a_second_signal_ends_a_load_at_once(node: ServeProcess) -> None:
    with load_under_way(node, "--seconds", "600") as load:
        node.kill()  # so that the first one has answers to wait for
        load.process.send_signal(signal.SIGTERM)
        load.process.send_signal(signal.SIGINT)
        load.process.send_signal(signal.SIGTERM)
        assert load.process.wait(5) in (-signal.SIGINT, -signal.SIGTERM)
