import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.settings.model import NodeSettings
from services.telemetry.conditions import Condition, Conditions
from services.telemetry.counters import Counter, Counters
from services.telemetry.metrics import METRICS
from services.telemetry.otel_export import ExportedTelemetry
from services.telemetry.start import start_telemetry
from services.telemetry.telemetry import BlockTimes, TelemetryError
from services.telemetry.throughput import PhaseThroughput

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE}-{SPAN}-01"


def times(index: int = 1) -> BlockTimes:
    return BlockTimes(
        index,
        first_position=40,
        count=10,
        payload_bytes=3,
        sealed_ns=10**9,
        durable_ns=10**9 + 2_000_000,
        applied_ns=2 * 10**9,
    )


class Node:
    """Telemetry that reports into memory."""

    def __init__(self, trace_ratio: float) -> None:
        self.counters = Counters()
        self.reader = InMemoryMetricReader()
        self.spans = InMemorySpanExporter()
        self.telemetry = ExportedTelemetry(
            NodeSettings.model_validate({"node": {"name": "n7"}, "telemetry": {"trace_ratio": trace_ratio}}),
            self.counters,
            PhaseThroughput(self.counters),
            readers=[self.reader],
            span_processors=[SimpleSpanProcessor(self.spans)],
        )

    def metrics(self) -> dict[str, list[object]]:
        data = self.reader.get_metrics_data()
        assert data is not None
        (resource,) = data.resource_metrics
        (scope,) = resource.scope_metrics
        return {metric.name: list(metric.data.data_points) for metric in scope.metrics}


@pytest.fixture
def node() -> Iterator[Node]:
    made = Node(trace_ratio=0)
    yield made
    made.telemetry.close()


def test_metrics_show_the_counters_as_they_are_when_collected(node: Node) -> None:
    node.counters.add(Counter.FRAMES_RECEIVED, 5)
    assert node.metrics()["penstock.rpc.frames.received"][0].value == 5  # type: ignore[attr-defined]
    node.counters.add(Counter.FRAMES_RECEIVED, 2)
    node.counters.add(Counter.SYNC_NS, 1_500_000_000)
    node.counters.add(Counter.STREAMS_OPENED, 3)
    node.counters.add(Counter.STREAMS_CLOSED, 1)
    found = {name: points[0].value for name, points in node.metrics().items()}  # type: ignore[attr-defined]
    assert found["penstock.rpc.frames.received"] == 7
    assert found["penstock.log.sync.busy"] == pytest.approx(1.5)
    assert found["penstock.rpc.streams.open"] == 2
    assert found.keys() >= {metric.name for metric in METRICS}


def test_a_level_seen_between_two_threads_writes_is_never_negative(node: Node) -> None:
    node.counters.add(Counter.TRANSACTIONS_SEALED, 10)
    assert node.metrics()["penstock.queue.transactions.waiting"][0].value == 0  # type: ignore[attr-defined]


def test_each_phase_shows_its_throughput_and_its_target(node: Node) -> None:
    found = node.metrics()
    targets = {point.attributes["phase"]: point.value for point in found["penstock.phase.target"]}  # type: ignore[attr-defined]
    assert targets == {"replication": 3_350_000, "pooling": 3_500_000, "txqueue": 3_750_000}
    assert {point.attributes["phase"] for point in found["penstock.phase.achieved"]} == set(targets)  # type: ignore[attr-defined]


def test_block_latencies_are_recorded_by_stage(node: Node) -> None:
    node.telemetry.observe_block(times())
    points = {point.attributes["stage"]: point for point in node.metrics()["penstock.block.latency"]}  # type: ignore[attr-defined]
    assert points["durable"].sum == pytest.approx(0.002)  # type: ignore[attr-defined]
    assert points["applied"].sum == pytest.approx(1.0)  # type: ignore[attr-defined]


def test_a_clock_set_back_records_no_negative_latency(node: Node) -> None:
    node.telemetry.observe_block(BlockTimes(1, 0, 1, 0, sealed_ns=10, durable_ns=5, applied_ns=3))
    assert all(point.sum == 0 for point in node.metrics()["penstock.block.latency"])  # type: ignore[attr-defined]


def test_a_block_with_a_sampled_submitter_has_a_span_that_links_to_it(node: Node) -> None:
    node.telemetry.observe_block(times(), [SAMPLED, SAMPLED])
    (span,) = node.spans.get_finished_spans()
    (link,) = span.links
    assert format(link.context.trace_id, "032x") == TRACE
    assert format(link.context.span_id, "016x") == SPAN
    assert (span.start_time, span.end_time) == (10**9, 2 * 10**9)
    assert span.attributes is not None
    assert span.attributes["penstock.block.transactions"] == 10
    assert str(span.resource.attributes["service.instance.id"]).startswith("n7/")


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "x",
        f"00-{TRACE}-{SPAN}-00",
        f"00-{'0' * 32}-{SPAN}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
    ],
)
def test_what_is_no_sampled_traceparent_is_passed_over(node: Node, traceparent: str) -> None:
    node.telemetry.observe_block(times(), [traceparent])
    assert not node.spans.get_finished_spans()


def test_links_of_a_span_are_bounded(node: Node) -> None:
    node.telemetry.observe_block(times(), [f"00-{TRACE}-{number:016x}-01" for number in range(1, 1000)])
    (span,) = node.spans.get_finished_spans()
    assert len(span.links) == 32


def test_the_share_of_blocks_asked_for_is_traced_and_the_same_ones_everywhere() -> None:
    traced = []
    for _ in range(2):
        node = Node(trace_ratio=0.1)
        for index in range(1, 2001):
            node.telemetry.observe_block(times(index))
        traced.append([span.attributes["penstock.block.index"] for span in node.spans.get_finished_spans()])  # type: ignore[index]
        node.telemetry.close()
    assert traced[0] == traced[1]
    assert 180 <= len(traced[0]) <= 220


def test_prometheus_can_scrape_a_node() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = NodeSettings.model_validate({"telemetry": {"prometheus": True, "prometheus_port": port}})
    counters = Counters()
    started = start_telemetry(settings, counters, PhaseThroughput(counters))
    counters.add(Counter.TRANSACTIONS_APPLIED, 12)
    started.observe_block(times())
    try:
        page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
        with pytest.raises(TelemetryError, match=r"choose another telemetry\.prometheus_host"):
            start_telemetry(settings, counters, PhaseThroughput(counters))
    finally:
        started.close()
    lines = [line for line in page.splitlines() if not line.startswith("#")]
    assert any(line.startswith("penstock_state_transactions_total{") and line.endswith(" 12.0") for line in lines)
    assert any(line.startswith("penstock_phase_target") and 'phase="txqueue"' in line for line in lines)
    assert any(line.startswith("penstock_block_latency_seconds_bucket{") and 'le="0.012"' in line for line in lines)
    assert any(line.startswith("process_resident_memory_bytes") for line in lines)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))


class Collector:
    """Takes what is exported to it, and keeps the last message of each kind and the headers it came with."""

    def __init__(self) -> None:
        self.received: dict[str, bytes] = {}
        self.headers: dict[str, dict[str, str | bytes]] = {}
        self._server = grpc.server(ThreadPoolExecutor(2))
        for name in ("metrics", "trace"):
            service = f"opentelemetry.proto.collector.{name}.v1.{name.capitalize()}Service"
            handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(self._take(name))
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": handler}),))
        self.endpoint = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def _take(self, name: str) -> Callable[[bytes, grpc.ServicerContext], bytes]:
        def export(message: bytes, context: grpc.ServicerContext) -> bytes:
            self.received[name] = message
            self.headers[name] = dict(context.invocation_metadata())
            return b""

        return export

    def close(self) -> None:
        self._server.stop(None)


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


def push_a_block(**telemetry: object) -> None:
    settings = NodeSettings.model_validate({"telemetry": {"trace_ratio": 1, **telemetry}})
    counters = Counters()
    started = start_telemetry(settings, counters, PhaseThroughput(counters))
    started.observe_block(times())
    started.close()


def test_metrics_and_spans_reach_a_collector(collector: Collector) -> None:
    push_a_block(otlp_endpoint=collector.endpoint)
    assert b"penstock.block.latency" in collector.received["metrics"]
    assert b"penstock.block.index" in collector.received["trace"]


def test_opentelemetry_s_own_variables_are_obeyed(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=secret%20one,team=ledger")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "ledger-eu")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=staging,service.instance.id=pod-7")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    push_a_block()
    for name in ("metrics", "trace"):
        assert collector.headers[name]["api-key"] == "secret one"
        assert collector.headers[name]["team"] == "ledger"
        for attribute in (b"ledger-eu", b"staging", b"pod-7", b"penstock.cluster.id"):
            assert attribute in collector.received[name]
        assert b"penstock-1/" not in collector.received[name]


def test_a_setting_wins_over_opentelemetry_s_variables(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    push_a_block(otlp_endpoint=collector.endpoint)
    assert collector.received.keys() == {"metrics", "trace"}


def test_a_collector_that_is_not_there_neither_stops_a_node_nor_holds_up_its_end() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        settings = NodeSettings.model_validate({"telemetry": {"otlp_endpoint": endpoint, "trace_ratio": 1}})
        counters = Counters()
        started = start_telemetry(settings, counters, PhaseThroughput(counters))
        started.observe_block(times())
        begin = time.monotonic()
        started.close()
    assert time.monotonic() - begin < 10


def test_a_node_that_nobody_watches_does_not_import_opentelemetry() -> None:
    program = (
        "import sys; from services.telemetry.start import start_telemetry; "
        "from services.telemetry.counters import Counters; "
        "from services.telemetry.throughput import PhaseThroughput; from services.settings.model import NodeSettings; "
        "c = Counters(); "
        "start_telemetry(NodeSettings(), c, PhaseThroughput(c)); "
        "assert not [m for m in sys.modules if m.startswith(('opentelemetry', 'prometheus', 'aiomonitor', 'rich'))]"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_each_condition_shows_whether_it_is_there_and_how_often_it_began(node: Node) -> None:
    conditions = Conditions()
    node.telemetry.watch_conditions(conditions)
    conditions.set(Condition.DISK_FULL)
    found = node.metrics()
    there = {point.attributes["condition"]: point.value for point in found["penstock.condition"]}  # type: ignore[attr-defined]
    begun = {point.attributes["condition"]: point.value for point in found["penstock.condition.begun"]}  # type: ignore[attr-defined]
    assert there == begun == {each.label: int(each is Condition.DISK_FULL) for each in Condition}
