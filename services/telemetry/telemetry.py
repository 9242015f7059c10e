"""What a node tells those who watch it, as the pipeline sees it: one call per block.

OpenTelemetry is imported only where settings ask for an endpoint: a node that nobody watches starts sooner and pays
nothing per block.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.settings.model import NodeSettings
from services.telemetry.counters import Counters
from services.telemetry.throughput import PhaseThroughput
from txqueue.queue_metrics import QueueMetrics


@dataclass(frozen=True, slots=True)
class BlockTimes:
    """A block's way through the pipeline; times are nanoseconds of the system's clock (``time.time_ns``)."""

    index: int
    first_position: int
    count: int
    payload_bytes: int
    sealed_ns: int
    durable_ns: int
    applied_ns: int


class TelemetryError(Exception):
    """An endpoint that settings ask for cannot be offered."""


class Telemetry(Protocol):
    """Takes note of blocks."""

    def observe_block(self, times: BlockTimes, traceparents: Sequence[str] = ()) -> None:
        """Note an applied block and its sampled submitters (W3C ``traceparent``). Never blocks, never raises."""

    def watch_queue(self, read: Callable[[], QueueMetrics]) -> None:
        """Show the ring's counters too; ``read`` is called whenever somebody collects."""

    def close(self) -> None:
        """Send what is left; blocks for some seconds where a collector does not answer."""


class NoTelemetry:
    """Telemetry of a node that nobody watches."""

    def observe_block(self, times: BlockTimes, traceparents: Sequence[str] = ()) -> None:
        """Forget it."""

    def watch_queue(self, read: Callable[[], QueueMetrics]) -> None:
        """Nobody collects."""

    def close(self) -> None:
        """Nothing is left."""


def start(settings: NodeSettings, counters: Counters, throughput: PhaseThroughput) -> Telemetry:
    """Offer what ``settings.telemetry`` asks for. Call it in the process that serves: exporters do not survive a fork.

    Raises:
        TelemetryError: the Prometheus port cannot be bound.
    """
    if not settings.telemetry.prometheus and settings.telemetry.otlp_endpoint is None:
        return NoTelemetry()
    from services.telemetry.otel_export import export

    return export(settings, counters, throughput)
