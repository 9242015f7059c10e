"""Start of a node's telemetry, as the settings ask for it.

OpenTelemetry is imported only where they ask for an endpoint; without one a node starts sooner and pays nothing per
block.
"""

from services.settings.model import NodeSettings
from services.telemetry.counters import Counters
from services.telemetry.telemetry import NoTelemetry, Telemetry
from services.telemetry.throughput import PhaseThroughput


def start_telemetry(settings: NodeSettings, counters: Counters, throughput: PhaseThroughput) -> Telemetry:
    """Offer what ``settings.telemetry`` asks for. Call it in the process that serves: exporters do not survive a fork.

    Raises:
        TelemetryError: the Prometheus port cannot be bound.
    """
    if not settings.telemetry.prometheus and settings.telemetry.otlp_endpoint is None:
        return NoTelemetry()
    from services.telemetry.otel_export import export

    return export(settings, counters, throughput)
