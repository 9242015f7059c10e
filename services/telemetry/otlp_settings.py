"""OTLP settings in force: the node's own where they were given, OpenTelemetry's variables otherwise.

https://opentelemetry.io/docs/specs/otel/protocol/exporter/ names the variables. Those that are not read here (headers,
certificates, compression) are read by the exporters themselves.
"""

import logging
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from penstock.contract.target import InvalidTarget, parse_target
from services.settings.model import TelemetrySettings

_EXPORTER: Final = "OTEL_EXPORTER_OTLP"
_PROTOCOL: Final = "grpc"
EXPORT_TIMEOUT_S: Final = 3.0

_log = logging.getLogger("penstock.telemetry")


class OtlpSettings(NamedTuple):
    """Where metrics and spans are pushed to, and how."""

    metrics_endpoint: str | None
    """None: metrics are not pushed."""
    traces_endpoint: str | None
    interval_s: float
    """Between pushes of metrics."""
    timeout_s: float | None
    """Of one push; None: as OpenTelemetry's variables say."""

    @property
    def is_asked_for(self) -> bool:
        """Whether anything is pushed."""
        return self.metrics_endpoint is not None or self.traces_endpoint is not None


def otlp_settings(settings: TelemetrySettings, environment: Mapping[str, str]) -> OtlpSettings:
    """Read what is in force; a setting wins over the environment, ``otlp_endpoint: none`` too."""
    if "otlp_endpoint" in settings.model_fields_set:
        metrics = traces = settings.otlp_endpoint
    else:
        metrics, traces = _endpoint("METRICS", environment), _endpoint("TRACES", environment)
    interval_s = settings.otlp_interval_s
    if "otlp_interval_s" not in settings.model_fields_set:
        interval_s = _seconds("OTEL_METRIC_EXPORT_INTERVAL", environment, interval_s)
    timeouts = (f"{_EXPORTER}_TIMEOUT", f"{_EXPORTER}_METRICS_TIMEOUT", f"{_EXPORTER}_TRACES_TIMEOUT")
    timeout_s = None if any(map(environment.get, timeouts)) else EXPORT_TIMEOUT_S
    return OtlpSettings(metrics, traces, interval_s, timeout_s)


def channel_options(endpoint: str) -> tuple[tuple[str, int], ...]:
    """The gRPC options of a channel to an endpoint: no proxy comes between this machine and itself."""
    try:
        return parse_target(urlsplit(endpoint).netloc or endpoint).channel_options
    except InvalidTarget:  # the exporter says what is wrong with it
        return ()


def _endpoint(signal: str, environment: Mapping[str, str]) -> str | None:
    """The endpoint that the environment names for a signal, unless it says not to push it, or by another protocol."""
    endpoint = environment.get(f"{_EXPORTER}_{signal}_ENDPOINT") or environment.get(f"{_EXPORTER}_ENDPOINT")
    exporters = environment.get(f"OTEL_{signal}_EXPORTER", "otlp").split(",")
    if not endpoint or "otlp" not in exporters or environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    protocol = environment.get(f"{_EXPORTER}_{signal}_PROTOCOL") or environment.get(f"{_EXPORTER}_PROTOCOL")
    if protocol not in (None, "", _PROTOCOL):
        _log.warning(
            "the environment asks for OTLP over %s, but a node pushes over gRPC alone: %s are not pushed; set "
            "%s_PROTOCOL=grpc and name the collector's gRPC endpoint, or set telemetry.otlp_endpoint",
            protocol,
            signal.lower(),
            _EXPORTER,
        )
        return None
    return endpoint


def _seconds(variable: str, environment: Mapping[str, str], default_s: float) -> float:
    """A number of milliseconds in the environment, as seconds."""
    try:
        milliseconds = float(environment.get(variable) or default_s * 1000)
    except ValueError:
        milliseconds = 0.0
    if milliseconds > 0:
        return milliseconds / 1000
    _log.warning(
        "%s=%s is no number of milliseconds above 0: %g s are used", variable, environment[variable], default_s
    )
    return default_s
