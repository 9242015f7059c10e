"""Every metric of a node moves when the node does what it measures, and each phase is shown against its target."""

import contextlib
import re
import socket
import urllib.request
from functools import partial
from pathlib import Path

import grpc

from penstock.v1 import state_pb2, state_pb2_grpc, txqueue_pb2_grpc
from services.telemetry.throughput import PHASES
from tests.eventually import eventually
from tests.frames import frame, rows
from tests.node.serve_process import ServeProcess

MAY_STAY_ZERO = {
    "penstock_condition",
    "penstock_condition_begun_total",
    "penstock_gc_pauses_over_10ms_total",
    "penstock_gc_pauses_over_1ms_total",
    "penstock_rpc_calls_cut_total",
    "penstock_rpc_frames_in_flight",
    "penstock_rpc_frames_refused_busy_total",
    "penstock_rpc_frames_refused_unavailable_total",
    "penstock_rpc_streams_open",
    "penstock_rpc_watches_open",
    "penstock_pools_in_use",
    "penstock_queue_claims_dead_total",
    "penstock_queue_claims_refused_total",
    "penstock_queue_padding_bytes_total",
    "penstock_queue_retries_total",
    "penstock_queue_transactions_waiting",
}


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        text: str = page.read().decode()
    return text


def still_metrics(text: str) -> set[str]:
    values: dict[str, list[float]] = {}
    for name, value in re.findall(r"^(penstock_\w+?)(?:\{[^}]*\})? ([0-9.e+-]+)$", text, re.MULTILINE):
        values.setdefault(name, []).append(float(value))
    assert values
    return {name for name, series in values.items() if not any(series) and not name.endswith("_bucket")}


def all_have_moved(port: int) -> bool:
    return not still_metrics(scrape(port)) - MAY_STAY_ZERO


def test_every_metric_moves_and_phases_have_targets(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    telemetry = ("--set", "telemetry.prometheus=true", "--set", f"telemetry.prometheus_port={port}")
    with ServeProcess(tmp_path, *telemetry) as node, grpc.insecure_channel(node.target) as channel:
        stub = txqueue_pb2_grpc.TxQueueServiceStub(channel)
        for client_id in range(1, 5):
            stub.SubmitFrame(frame(rows(1000, client_id=client_id, operation=5, operand_hi=1, key_lo=65)), timeout=10)
        with contextlib.suppress(grpc.RpcError):
            stub.SubmitFrame(frame(rows(0)), timeout=10)
        state_pb2_grpc.StateServiceStub(channel).Read(
            state_pb2.ReadRequest(key=state_pb2.Key(counter=b"A")), timeout=10
        )
        eventually(
            partial(all_have_moved, port), "a first change of every metric", timeout_s=10
        )  # the pools are looked at once a second
        text = scrape(port)
    assert not still_metrics(text) - MAY_STAY_ZERO
    targets = {
        phase: float(value)
        for phase, value in re.findall(
            r'^penstock_phase_target\S*\{[^}]*phase="(\w+)"[^}]*\} (\S+)$', text, re.MULTILINE
        )
    }
    assert targets == {phase.name: phase.target_tps for phase in PHASES}
