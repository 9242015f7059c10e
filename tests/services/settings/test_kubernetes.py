"""What Kubernetes sets for a service is told from a setting that somebody misspelt."""

import pytest

from services.settings.kubernetes import is_service_variable


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PENSTOCK_METRICS_SERVICE_HOST", "10.96.0.1"),
        ("PENSTOCK_METRICS_SERVICE_PORT", "9464"),
        ("PENSTOCK_METRICS_SERVICE_PORT_HTTP", "9464"),
        ("PENSTOCK_METRICS_PORT", "tcp://10.96.0.1:9464"),
        ("PENSTOCK_METRICS_PORT_9464_TCP", "tcp://[fd00::1]:9464"),
        ("PENSTOCK_METRICS_PORT_9464_TCP_PROTO", "tcp"),
        ("PENSTOCK_METRICS_PORT_9464_TCP_PORT", "9464"),
        ("PENSTOCK_METRICS_PORT_9464_TCP_ADDR", "fd00::1"),
    ],
)
def test_each_form_of_a_service_s_variables_is_known(name: str, value: str) -> None:
    assert is_service_variable(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PENSTOCK_MONITOR_PORT", "20101"),
        ("PENSTOCK_METRICS_SERVICE_HOST", "somewhere"),
        ("PENSTOCK_METRICS_PORT_9464_TCP_PROTO", "http"),
        ("PENSTOCK_LOG_SYNC_MODE", "none"),
    ],
)
def test_what_only_looks_like_one_is_somebody_s_own(name: str, value: str) -> None:
    assert not is_service_variable(name, value)
