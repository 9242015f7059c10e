from pathlib import Path

import pytest

from services.cli.dev import banner
from services.settings.model import NodeSettings


def settings(**telemetry: object) -> NodeSettings:
    return NodeSettings.model_validate({"node": {"data_dir": "/tmp/penstock-dev-1"}, "telemetry": telemetry})


def test_dev_says_where_its_data_its_metrics_and_its_end_are() -> None:
    text = banner(settings(), ["127.0.0.1:50051"], kept=False)
    assert "serves at 127.0.0.1:50051." in text
    assert "/tmp/penstock-dev-1, removed at the end" in text
    assert "none; --set telemetry.prometheus=true serves them" in text
    assert "Ctrl-C" in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_dev_says_that_a_directory_that_was_named_is_kept() -> None:
    named = NodeSettings.model_validate({"node": {"data_dir": "data"}})
    assert f"{Path.cwd()}/data, kept at the end" in banner(named, ["127.0.0.1:50051"], kept=True)


@pytest.mark.parametrize(
    ("port", "told"),
    [(9000, "http://127.0.0.1:9000/metrics"), (0, "at a free port of 127.0.0.1; telemetry.prometheus")],
)
def test_dev_says_where_metrics_are_served(port: int, told: str) -> None:
    text = banner(settings(prometheus=True, prometheus_port=port), ["127.0.0.1:50051"], kept=False)
    assert f"metrics  {told}" in text


def test_dev_names_a_target_that_is_not_the_usual_one() -> None:
    assert "PENSTOCK_TARGET" not in banner(settings(), ["127.0.0.1:50051"], kept=False)
    text = banner(settings(), ["unix:/run/p.sock", "127.0.0.1:1"], kept=False)
    assert "export PENSTOCK_TARGET=unix:/run/p.sock" in text
    assert 'penstock.Client("unix:/run/p.sock")' in text
