"""OpenTelemetry export: metrics to a Prometheus page and an OTLP endpoint, spans of blocks to the OTLP endpoint."""

import os
from collections.abc import Callable, Sequence
from typing import Final

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

from penstock.host.executor import THREADS
from services.release import running_version
from services.settings.model import NodeSettings, TelemetrySettings
from services.telemetry import metrics, queue_metrics
from services.telemetry.conditions import Conditions
from services.telemetry.counters import Counters
from services.telemetry.otlp_settings import EXPORT_TIMEOUT_S, OtlpSettings, channel_options, otlp_settings
from services.telemetry.telemetry import BlockTimes, Telemetry, TelemetryError
from services.telemetry.throughput import PhaseThroughput
from services.telemetry.tracing import BlockSpans
from txqueue.queue_metrics import QueueMetrics

_SCOPE: Final = "penstock"


class ExportedTelemetry:
    """Telemetry through the given readers and processors, under a resource that names this process."""

    def __init__(
        self,
        settings: NodeSettings,
        counters: Counters,
        throughput: PhaseThroughput,
        *,
        readers: Sequence[MetricReader] = (),
        span_processors: Sequence[SpanProcessor] = (),
        on_close: Callable[[], None] | None = None,
    ) -> None:
        """Declare all metrics to ``readers``; ``on_close`` runs last."""
        resource = _resource(settings)
        self._meters = MeterProvider(readers, resource, shutdown_on_exit=False)
        self._latency = metrics.register(self._meters.get_meter(_SCOPE), counters, throughput)
        self._tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        for processor in span_processors:
            self._tracers.add_span_processor(processor)
        self._spans: BlockSpans | None = None
        if span_processors:
            self._spans = BlockSpans(self._tracers.get_tracer(_SCOPE), settings.telemetry.trace_ratio)
        self._on_close = on_close

    def observe_block(self, times: BlockTimes, traceparents: Sequence[str] = ()) -> None:
        """Record the block's latency, and its span where it is sampled. Takes some microseconds."""
        # The system's clock may be set back between two readings; a latency below 0 would spoil the sums.
        self._latency.record(max(0, times.durable_ns - times.sealed_ns) / 1e9, {"stage": "durable"})
        self._latency.record(max(0, times.applied_ns - times.sealed_ns) / 1e9, {"stage": "applied"})
        if self._spans is not None:
            self._spans.record(times, traceparents)

    def watch_queue(self, read: Callable[[], QueueMetrics]) -> None:
        """Declare the ring's metrics too."""
        queue_metrics.register(self._meters.get_meter(_SCOPE), read)

    def watch_conditions(self, conditions: Conditions) -> None:
        """Declare the metrics of the node's conditions too."""
        metrics.register_conditions(self._meters.get_meter(_SCOPE), conditions)

    def close(self) -> None:
        """Send what is left; blocks for some seconds where an OTLP endpoint does not answer."""
        # Both at once: one after the other they would take longer than a stop has left to close everything.
        closing = THREADS.start("telemetry-traces", self._tracers.shutdown)
        self._meters.shutdown(timeout_millis=EXPORT_TIMEOUT_S * 1000)
        closing.join()
        if self._on_close is not None:
            self._on_close()


def export(settings: NodeSettings, counters: Counters, throughput: PhaseThroughput) -> Telemetry:
    """Build what ``settings.telemetry`` asks for; see `services.telemetry.start`."""
    readers: list[MetricReader] = []
    span_processors: list[SpanProcessor] = []
    on_close: Callable[[], None] | None = None
    if settings.telemetry.prometheus:
        reader, on_close = _serve_prometheus(settings.telemetry)
        readers.append(reader)
    otlp = otlp_settings(settings.telemetry, os.environ)
    if otlp.metrics_endpoint is not None:
        readers.append(_push_metrics(otlp.metrics_endpoint, otlp))
    if otlp.traces_endpoint is not None:
        span_processors.append(_push_spans(otlp.traces_endpoint, otlp))
    return ExportedTelemetry(
        settings, counters, throughput, readers=readers, span_processors=span_processors, on_close=on_close
    )


def _serve_prometheus(settings: TelemetrySettings) -> tuple[MetricReader, Callable[[], None]]:
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server

    # A registry of its own, as the process-wide one would mix the nodes of one process (as tests have them).
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    reader = PrometheusMetricReader(registry=registry)
    try:
        server, thread = start_http_server(settings.prometheus_port, settings.prometheus_host, registry)
    except OSError as error:
        raise TelemetryError(
            f"cannot serve metrics on {settings.prometheus_host}:{settings.prometheus_port}: {error.strerror}; choose "
            "another telemetry.prometheus_host and telemetry.prometheus_port, or switch telemetry.prometheus off"
        ) from error

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return reader, stop


def _push_metrics(endpoint: str, otlp: OtlpSettings) -> MetricReader:
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    exporter = OTLPMetricExporter(
        endpoint,
        timeout=otlp.timeout_s,
        channel_options=channel_options(endpoint),  # type: ignore[arg-type] # they are any of gRPC's
    )
    return PeriodicExportingMetricReader(exporter, export_interval_millis=otlp.interval_s * 1000)


def _push_spans(endpoint: str, otlp: OtlpSettings) -> SpanProcessor:
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    exporter = OTLPSpanExporter(
        endpoint,
        timeout=otlp.timeout_s,
        channel_options=channel_options(endpoint),  # type: ignore[arg-type] # they are any of gRPC's
    )
    return BatchSpanProcessor(exporter)


def _resource(settings: NodeSettings) -> Resource:
    """Who reports; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES add to it, and win."""
    own = Resource.create(
        {
            "service.name": "penstock",
            "service.version": running_version(),
            # Per process, or the series of two processes of one node would overwrite each other.
            "service.instance.id": f"{settings.node.name}/{os.getpid()}",
            "penstock.cluster.id": str(settings.node.cluster_id),
        }
    )
    return own.merge(OTELResourceDetector().detect())
