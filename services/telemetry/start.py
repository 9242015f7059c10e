"""Start of a node's telemetry, as its settings or OpenTelemetry's variables ask for it.

OpenTelemetry is imported only where these ask for an endpoint; without one a node starts sooner and pays nothing per
block.
"""

import os

from services.settings.model import NodeSettings
from services.telemetry.counters import Counters
from services.telemetry.otlp_settings import otlp_settings
from services.telemetry.telemetry import NoTelemetry, Telemetry
from services.telemetry.throughput import PhaseThroughput


def start_telemetry(settings: NodeSettings, counters: Counters, throughput: PhaseThroughput) -> Telemetry:
    """Offer what ``settings.telemetry`` and OpenTelemetry's variables ask for.

    Call it in the process that serves: exporters do not survive a fork.

    Raises:
        TelemetryError: the Prometheus port cannot be bound.
    """
    if not settings.telemetry.prometheus and not otlp_settings(settings.telemetry, os.environ).is_asked_for:
        return NoTelemetry()
    from services.telemetry.otel_export import export

    return export(settings, counters, throughput)
