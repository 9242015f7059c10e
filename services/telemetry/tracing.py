"""Tracing: one span per sampled block, linked to the spans of those who submitted its frames."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from opentelemetry.trace import Link, SpanContext, TraceFlags, Tracer

from services.telemetry.telemetry import BlockTimes

_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
"""W3C Trace Context, 3.2: version, trace id, parent id, flags; later versions may append fields."""
_LINKS_MAX: Final = 32
_GOLDEN: Final = 0x9E3779B97F4A7C15
_WORD: Final = (1 << 64) - 1


class BlockSpans:
    """Records spans of blocks after the fact, from the times that the pipeline took."""

    def __init__(self, tracer: Tracer, ratio: float) -> None:
        """Sample `ratio` (0 to 1) of all blocks, and every block with a sampled submitter."""
        assert 0 <= ratio <= 1
        self._tracer = tracer
        self._threshold = round(ratio * (1 << 64))

    def record(self, times: BlockTimes, traceparents: Sequence[str]) -> None:
        """Record the block's span where it is sampled."""
        links = list(_links(traceparents))
        # By the index and not by chance: every node of a cluster traces the same blocks.
        if not links and times.index * _GOLDEN & _WORD >= self._threshold:
            return
        span = self._tracer.start_span(
            "penstock.block",
            links=links,
            start_time=times.sealed_ns,
            attributes={
                "penstock.block.index": times.index,
                "penstock.block.first_position": times.first_position,
                "penstock.block.transactions": times.count,
                "penstock.block.payload_bytes": times.payload_bytes,
            },
        )
        span.add_event("durable", timestamp=times.durable_ns)
        span.end(times.applied_ns)


def _links(traceparents: Iterable[str]) -> Iterable[Link]:
    """Link to sampled submitters; what is not a traceparent is ignored, as the standard asks."""
    for traceparent in list(dict.fromkeys(traceparents))[:_LINKS_MAX]:
        match = _TRACEPARENT.fullmatch(traceparent)
        if match is None:
            continue
        trace_id, span_id, flags = (int(group, 16) for group in match.groups())
        context = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
        if context.is_valid and context.trace_flags.sampled:
            yield Link(context)
