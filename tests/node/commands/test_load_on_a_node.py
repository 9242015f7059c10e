"""A real node, loaded by real worker processes, holds up to the check; and a crash under load costs nothing."""

import asyncio
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.load.account_setup import open_accounts
from loadtest.load.coordinator import LoadPlan, LoadRun, run_load
from loadtest.load.frame_outcomes import ACCEPTED
from loadtest.load.frame_source import AccountSetupSource
from loadtest.load.load_report import summarize
from loadtest.load.workload import Workload, parse_mix
from loadtest.node.node_process import NodeFailed, NodeProcess, digests_of, is_serving, running_node, status_of
from loadtest.verify.verify_log import Evidence, verify_log
from tests.eventually import eventually

WORKLOAD = Workload(accounts=2000, frame=500, mix=parse_mix("transfer=70,put=10,add=10,delete=5,append=5"))


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with running_node(tmp_path_factory.mktemp("node")) as running:
        yield running


def opened(target: str, client_id: int) -> Evidence:
    source = AccountSetupSource(WORKLOAD, client_id)
    return Evidence(source, asyncio.run(open_accounts(target, source, lambda: None)).frames)


def test_closed_and_open_loops_are_verified_to_the_state_digest(node: NodeProcess) -> None:
    evidence = [opened(node.target, 1)]
    progress: list[int] = []
    closed = LoadPlan(node.target, WORKLOAD, in_flight=3, workers=2, seconds=0.5, warmup_s=0.1)
    runs = [run_load(closed, lambda committed, _: progress.append(committed))]
    runs.append(run_load(LoadPlan(node.target, WORKLOAD, rate=20_000, seconds=0.5, warmup_s=0.1)))
    for run in runs:
        evidence += run.evidence()
    status = status_of(node.target, with_state_digest=True)
    verdict = verify_log(node.log_directory, evidence, digests_of(status), model_transactions_max=100_000)
    assert verdict.problems == []
    assert verdict.transactions == verdict.acknowledged == status.applied_transactions
    assert "the node's digest of the whole state" in verdict.checks
    assert progress[-1] > 0
    figures = summarize(runs[1])
    assert figures["attempted_tps"] == pytest.approx(20_000, rel=0.2)
    assert figures["workload"]["frame"] == 20


def test_a_coordinator_that_is_slow_to_read_gets_the_whole_result(node: NodeProcess) -> None:
    workload = Workload(accounts=2000, frame=1, mix=parse_mix("append=100"), value_bytes=8)
    plan = LoadPlan(node.target, workload, in_flight=64, seconds=3.0, warmup_s=0.0)
    pause = threading.Event()

    def slowly(_committed: int, _elapsed_s: float) -> None:
        pause.wait(0.7)

    frames = run_load(plan, slowly).results[0].frames
    assert frames.nbytes > 250_000, "more than the connection between the processes holds"
    assert (frames["outcome"] == ACCEPTED).all()


def test_a_node_killed_under_load_loses_nothing_acknowledged_and_applies_nothing_twice(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="penstock-") as directory:
        node = NodeProcess(tmp_path, Path(directory) / "node.sock")
        try:
            node.start()
            evidence = [opened(node.target, 1)]
            runs: list[LoadRun] = []
            plan = LoadPlan(node.target, WORKLOAD, in_flight=6, seconds=2.0, warmup_s=0.0)
            load = threading.Thread(target=lambda: runs.append(run_load(plan)))
            load.start()
            eventually(lambda: status_of(node.target).applied_transactions >= 20_000, "the load")
            node.kill()
            killed_ns = time.monotonic_ns()
            node.start()
            load.join()
            status = status_of(node.target, with_state_digest=True)
            node.stop()
        finally:
            node.kill()
    evidence += runs[0].evidence()
    verdict = verify_log(node.log_directory, evidence, digests_of(status), model_transactions_max=100_000)
    assert verdict.problems == []
    figures = summarize(runs[0])
    assert (figures["frames_refused"], figures["frames_unknown"]) == (0, 0), figures["first_error"]
    received_ns = runs[0].results[0].frames["received_ns"]
    assert (received_ns < killed_ns).any(), "receipts came before the crash"
    assert (received_ns > killed_ns).any(), "and after it, for what was in flight"


def test_a_node_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(NodeFailed, match="sync_mode"), running_node(tmp_path, "--set", "log.sync_mode=sometimes"):
        pass
    assert not is_serving(f"unix:{tmp_path}/nobody.sock")
