import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.settings.model import NodeSettings, setting_names


def test_given_settings_are_all_that_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_LOG_SYNC_MODE", "none")
    assert NodeSettings().log.sync_mode == "block"


def test_settings_cannot_be_changed() -> None:
    settings = NodeSettings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.log.sync_mode = "none"


def test_a_node_listens_on_this_machine_alone_unless_told_otherwise() -> None:
    settings = NodeSettings()
    assert all(address.startswith("127.0.0.1:") for address in settings.listen.addresses)
    assert settings.telemetry.prometheus_host == "127.0.0.1"
    assert not settings.monitor.enabled


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:50051", "node-1.example:65535", "unix:/run/penstock.sock"])
def test_addresses_may_be_written_as_grpc_takes_them(address: str) -> None:
    assert NodeSettings.model_validate({"listen": {"addresses": [address]}}).listen.addresses == (address,)


@pytest.mark.parametrize(
    "address",
    ["", ":50051", "localhost", "localhost:", "::1:50051", "a:65536", "a:x", "a:-1", "unix:", "unix:/" + "x" * 107],
)
def test_malformed_addresses_are_refused(address: str) -> None:
    with pytest.raises(ValidationError):
        NodeSettings.model_validate({"listen": {"addresses": [address]}})


def test_an_address_named_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match="named twice"):
        NodeSettings.model_validate({"listen": {"addresses": "localhost:1, localhost:1"}})


@pytest.mark.parametrize(
    ("group", "name", "value"),
    [
        ("log", "segment_bytes", "8MB"),  # not a multiple of 4 KiB
        ("log", "segment_bytes", 4096),
        ("log", "sync_mode", "sometimes"),
        ("queue", "slots", 4095),
        ("state", "bytes_max", 0),
        ("node", "cluster_id", 1 << 64),
        ("node", "name", "no spaces"),
        ("admission", "namespaces", ["65536"]),
        ("admission", "namespaces", ["9-3"]),
        ("admission", "namespaces", []),
        ("telemetry", "trace_ratio", 1.1),
        ("telemetry", "otlp_endpoint", "localhost:4317"),
        ("monitor", "port", 65534),
    ],
)
def test_values_out_of_range_are_refused(group: str, name: str, value: object) -> None:
    with pytest.raises(ValidationError):
        NodeSettings.model_validate({group: {name: value}})


def test_sizes_may_be_written_with_units() -> None:
    assert NodeSettings.model_validate({"log": {"segment_bytes": "128MiB"}}).log.segment_bytes == 128 << 20


@given(st.sets(st.integers(0, 65_535), min_size=1, max_size=50))
def test_namespaces_are_what_the_ranges_hold(numbers: set[int]) -> None:
    text = ",".join(str(number) for number in numbers)
    assert NodeSettings.model_validate({"admission": {"namespaces": text}}).admission.allowed_namespaces() == sorted(
        numbers
    )


def test_all_namespaces_are_let_in_by_default() -> None:
    assert NodeSettings().admission.allowed_namespaces() is None
    halves = {"admission": {"namespaces": "0-40000, 30000-65535"}}
    assert NodeSettings.model_validate(halves).admission.allowed_namespaces() is None


def test_telemetry_and_monitor_cannot_share_a_port() -> None:
    settings = {
        "telemetry": {"prometheus": True, "prometheus_port": 20103},
        "monitor": {"enabled": True, "port": 20101},
    }
    with pytest.raises(ValidationError, match="move one of them"):
        NodeSettings.model_validate(settings)


def test_every_setting_can_be_named_in_the_environment_without_ambiguity() -> None:
    variables = [name.replace(".", "_").upper() for name in setting_names()]
    assert len(set(variables)) == len(variables)
    assert not any("_" in name.split(".")[0] for name in setting_names())


@pytest.mark.parametrize(
    "pooling",
    [{"transactions": 1_048_577}, {"block_bytes_max": "65 MiB"}, {"messages": 16_385}],
    ids=lambda pooling: next(iter(pooling)),
)
def test_a_pool_that_would_not_fit_its_budget_is_refused(pooling: dict[str, object]) -> None:
    small = {"bytes_max": "64 MiB", "block_bytes_max": "64 MiB", "transactions": 1_048_576, "messages": 16_384}
    assert NodeSettings.model_validate({"pooling": small})
    with pytest.raises(ValidationError, match="raise it or lower them"):
        NodeSettings.model_validate({"pooling": small | pooling})


def test_status_is_told_beside_each_unix_socket_unless_said_otherwise() -> None:
    def at(**listen: object) -> list[str]:
        return NodeSettings.model_validate({"listen": listen}).listen.status_at()

    assert at() == []
    assert at(addresses="unix:/run/a, localhost:1, unix:///run/b") == ["unix:/run/a.status", "unix:///run/b.status"]
    assert at(addresses=f"unix:/{'x' * 105}") == [], "there is no room in such a path"
    assert at(addresses="unix:/run/a", status_addresses="localhost:2") == ["localhost:2"]
    assert at(addresses="unix:/run/a", status_addresses="none") == ["unix:/run/a.status"]
    with pytest.raises(ValidationError, match="choose another"):
        at(addresses="localhost:1", status_addresses="localhost:1")
