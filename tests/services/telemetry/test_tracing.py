"""Spans of blocks are sampled by the block's index and its submitters, never by chance."""

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.telemetry.telemetry import BlockTimes
from services.telemetry.tracing import BlockSpans


def traced(ratio: float, *traceparents: str, blocks: int = 1) -> InMemorySpanExporter:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    spans = BlockSpans(provider.get_tracer("test"), ratio)
    for index in range(1, blocks + 1):
        spans.record(BlockTimes(index, 0, 1, 0, sealed_ns=1, durable_ns=2, applied_ns=3), traceparents)
    return exporter


def test_a_ratio_of_one_traces_every_block_and_of_zero_none() -> None:
    assert len(traced(1.0, blocks=50).get_finished_spans()) == 50
    assert len(traced(0.0, blocks=50).get_finished_spans()) == 0


def test_a_span_tells_the_block_s_way() -> None:
    (span,) = traced(1.0).get_finished_spans()
    assert (span.start_time, span.end_time) == (1, 3)
    assert [(event.name, event.timestamp) for event in span.events] == [("durable", 2)]
    assert span.attributes is not None
    assert span.attributes["penstock.block.index"] == 1


def test_ids_of_zero_are_no_submitter() -> None:
    assert len(traced(0.0, f"00-{'0' * 32}-{'1' * 16}-01").get_finished_spans()) == 0
    assert len(traced(0.0, f"00-{'1' * 32}-{'1' * 16}-01").get_finished_spans()) == 1
