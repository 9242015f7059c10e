"""Telemetry closes within what a stop has for it, though nobody answers at the other end."""

import threading
from typing import Any

from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.settings.model import NodeSettings
from services.telemetry.counters import Counters
from services.telemetry.otel_export import ExportedTelemetry
from services.telemetry.throughput import PhaseThroughput


def test_metrics_and_traces_are_sent_off_at_the_same_time() -> None:
    together = threading.Barrier(2, timeout=5)
    met: list[int] = []

    class SlowReader(InMemoryMetricReader):
        def shutdown(self, timeout_millis: float = 0, **kwargs: Any) -> None:
            met.append(together.wait())

    class SlowSpans(SimpleSpanProcessor):
        def shutdown(self) -> None:
            met.append(together.wait())

    counters = Counters()
    telemetry = ExportedTelemetry(
        NodeSettings(),
        counters,
        PhaseThroughput(counters),
        readers=[SlowReader()],
        span_processors=[SlowSpans(InMemorySpanExporter())],
    )
    telemetry.close()
    assert sorted(met) == [0, 1]
