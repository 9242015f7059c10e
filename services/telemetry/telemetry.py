"""Telemetry as the pipeline sees it: an interface of one call per block.

Nothing here needs OpenTelemetry, which `services.telemetry.start` imports only where the settings ask for an endpoint.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.telemetry.conditions import Conditions
from txqueue.queue_metrics import QueueMetrics


@dataclass(frozen=True, slots=True)
class BlockTimes:
    """When a block passed the stages of the pipeline; times are nanoseconds of Unix time."""

    index: int
    first_position: int
    count: int
    payload_bytes: int
    sealed_ns: int
    durable_ns: int
    applied_ns: int


class TelemetryError(Exception):
    """An endpoint that the settings ask for cannot be offered."""


class Telemetry(Protocol):
    """Observes blocks, the ring, and the node's conditions."""

    def observe_block(self, times: BlockTimes, traceparents: Sequence[str] = ()) -> None:
        """Observe an applied block and its sampled submitters (W3C ``traceparent``). Never blocks, never raises."""

    def watch_queue(self, read: Callable[[], QueueMetrics]) -> None:
        """Export the ring's counters too; ``read`` is called at every collection."""

    def watch_conditions(self, conditions: Conditions) -> None:
        """Export the node's conditions too."""

    def close(self) -> None:
        """Send what is left; blocks for some seconds where an OTLP endpoint does not answer."""


class NoTelemetry:
    """Telemetry of a node without an endpoint: none."""

    def observe_block(self, times: BlockTimes, traceparents: Sequence[str] = ()) -> None:
        """Do nothing."""

    def watch_queue(self, read: Callable[[], QueueMetrics]) -> None:
        """Do nothing."""

    def watch_conditions(self, conditions: Conditions) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
