import logging

import pytest

from services.settings.model import TelemetrySettings
from services.telemetry.otlp_settings import EXPORT_TIMEOUT_S, channel_options, otlp_settings

GIVEN = TelemetrySettings(otlp_endpoint="http://given:1", otlp_interval_s=2)


def of(environment: dict[str, str], settings: TelemetrySettings | None = None) -> tuple[str | None, str | None]:
    found = otlp_settings(settings or TelemetrySettings(), environment)
    return found.metrics_endpoint, found.traces_endpoint


def test_nothing_is_pushed_unless_somebody_asks_for_it() -> None:
    found = otlp_settings(TelemetrySettings(), {})
    assert not found.is_asked_for
    assert (found.interval_s, found.timeout_s) == (10.0, EXPORT_TIMEOUT_S)


@pytest.mark.parametrize(
    ("environment", "endpoints"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1"}, ("http://a:1", "http://a:1")),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, (None, None)),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://m:1"}, ("http://m:1", None)),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t:1"},
            ("http://a:1", "http://t:1"),
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1", "OTEL_TRACES_EXPORTER": "none"}, ("http://a:1", None)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1", "OTEL_METRICS_EXPORTER": "console,otlp"}, ("http://a:1",) * 2),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1", "OTEL_SDK_DISABLED": "true"}, (None, None)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, ("http://a:1",) * 2),
    ],
)
def test_the_environment_is_obeyed_where_no_setting_is_given(
    environment: dict[str, str], endpoints: tuple[str | None, str | None]
) -> None:
    assert of(environment) == endpoints
    assert of(environment, GIVEN) == ("http://given:1", "http://given:1")
    assert of(environment, TelemetrySettings(otlp_endpoint=None)) == (None, None)


def test_another_protocol_is_not_mistaken_for_grpc(caplog: pytest.LogCaptureFixture) -> None:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:4318", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
    with caplog.at_level(logging.WARNING):
        assert of(environment) == (None, None)
    assert "OTLP over http/protobuf, but a node pushes over gRPC alone: metrics are not pushed" in caplog.text


def test_intervals_and_timeouts_are_the_environment_s_unless_they_were_set(caplog: pytest.LogCaptureFixture) -> None:
    environment = {"OTEL_METRIC_EXPORT_INTERVAL": "2500", "OTEL_EXPORTER_OTLP_TIMEOUT": "20"}
    assert otlp_settings(TelemetrySettings(), environment)[2:] == (2.5, None)
    assert otlp_settings(GIVEN, environment).interval_s == 2
    for nonsense in ("soon", "-1", "0"):
        assert otlp_settings(TelemetrySettings(), {"OTEL_METRIC_EXPORT_INTERVAL": nonsense}).interval_s == 10
        assert f"OTEL_METRIC_EXPORT_INTERVAL={nonsense} is no number" in caplog.text


def test_no_proxy_comes_between_a_node_and_a_collector_of_its_machine() -> None:
    for local in ("http://127.0.0.1:4317", "http://localhost:4317", "localhost:4317", "https://[::1]:4317/"):
        assert channel_options(local) == (("grpc.enable_http_proxy", 0),)
    for other in ("http://collector:4317", "collector:4317", "no collector"):
        assert channel_options(other) == ()
