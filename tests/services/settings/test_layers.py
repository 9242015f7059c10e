from pathlib import Path

import pytest
import yaml

from services.settings.layers import DEFAULT, ConfigurationError, Given, load
from services.settings.model import NodeSettings, setting_names

CONFIGS = Path(__file__).parents[3] / "configs"


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_the_command_line_lies_over_the_environment_over_files_over_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write(
        tmp_path / "a.yaml", "log: {sync_mode: none, sync_interval_ms: 1}\nqueue: {slots: 512}\nnode: {name: a}"
    )
    second = write(tmp_path / "b.yaml", "log: {sync_interval_ms: 2}\nqueue: {slots: 1024}\nnode: {name: b}")
    monkeypatch.setenv("PENSTOCK_QUEUE_SLOTS", "2048")
    monkeypatch.setenv("penstock_node_name", "c")
    loaded = load([first, second], {"node.name": Given("d", "command line --set")})
    assert loaded.settings.log.sync_mode == "none"
    assert loaded.settings.log.sync_interval_ms == 2
    assert loaded.settings.queue.slots == 2048
    assert loaded.settings.node.name == "d"
    assert loaded.sources["log.sync_mode"] == str(first)
    assert loaded.sources["log.sync_interval_ms"] == str(second)
    assert loaded.sources["queue.slots"] == "environment PENSTOCK_QUEUE_SLOTS"
    assert loaded.sources["node.name"] == "command line --set"
    assert loaded.sources["shutdown.grace_s"] == DEFAULT
    assert list(loaded.sources) == setting_names()


def test_lists_in_the_environment_are_split_at_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_LISTEN_ADDRESSES", "unix:/tmp/a, localhost:1")
    assert load().settings.listen.addresses == ("unix:/tmp/a", "localhost:1")


def test_an_unknown_name_in_a_file_is_refused_with_the_nearest_known_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "log: {sync_mod: none}")
    with pytest.raises(
        ConfigurationError, match=r"log\.sync_mod \(.*a\.yaml\): no such setting; did you mean log\.sync_mode\?"
    ):
        load([path])


def test_an_unknown_group_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such setting"):
        load([write(tmp_path / "a.yaml", "zzzzzz: {yyyyyyyyyy: 1}")])


def test_an_unknown_variable_of_ours_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_LOG_SYNCMODE", "none")
    with pytest.raises(ConfigurationError, match="did you mean PENSTOCK_LOG_SYNC_MODE"):
        load()


@pytest.mark.parametrize("variable", ["PENSTOCK_CONFIG", "PENSTOCK_TARGET"])
def test_variables_of_the_command_line_are_no_settings(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "/etc/penstock.yaml")
    assert load().settings == NodeSettings()


def test_all_values_at_fault_are_told_at_once_with_their_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.yaml", "log: {sync_mode: blok}")
    monkeypatch.setenv("PENSTOCK_QUEUE_SLOTS", "1500")
    with pytest.raises(ConfigurationError) as caught:
        load([path], {"monitor.port": Given("0", "command line --set")})
    assert len(caught.value.problems) == 3
    assert "'blok'" in str(caught.value)
    assert str(path) in str(caught.value)
    assert "environment PENSTOCK_QUEUE_SLOTS" in str(caught.value)
    assert "for example 2048" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("log: [", "is not YAML"),
        ("- a", "expected groups"),
        ("log: none", "expected a group"),
        ("log: {sync_mode: none}\nqueue: {}\nlog: {sync_interval_ms: 1}", "once more"),
        ("log: {sync_mode: none, sync_mode: block}", "once more"),
        ("log: {sync_mode: {a: 1}}", "log.sync_mode"),
    ],
)
def test_files_that_say_something_else_are_refused(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=told):
        load([write(tmp_path / "a.yaml", text)])


def test_files_that_are_not_text_or_not_there_are_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name in ("missing", "binary", "."):
        with pytest.raises(ConfigurationError, match=name):
            load([tmp_path / name])


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert load([write(tmp_path / "a.yaml", "# nothing\nlog:\n")]).settings == NodeSettings()


def test_the_file_of_all_settings_names_each_and_gives_its_default() -> None:
    path = CONFIGS / "node.yaml"
    loaded = load([path])
    assert loaded.settings == NodeSettings()
    assert set(loaded.sources.values()) == {str(path)}


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_file_of_settings_can_be_loaded(path: Path) -> None:
    assert yaml.safe_load(path.read_text())
    load([path])


KUBERNETES = {
    "SERVICE_HOST": "10.0.0.11",
    "SERVICE_PORT": "9464",
    "SERVICE_PORT_HTTP_METRICS": "9464",
    "PORT": "tcp://10.0.0.11:9464",
    "PORT_9464_TCP": "tcp://10.0.0.11:9464",
    "PORT_9464_TCP_PROTO": "tcp",
    "PORT_9464_TCP_PORT": "9464",
    "PORT_9464_TCP_ADDR": "10.0.0.11",
    "PORT_53_UDP": "udp://[fd00::1]:53",
    "PORT_53_UDP_ADDR": "fd00::1",
}


@pytest.mark.parametrize(
    "service", ["PENSTOCK", "PENSTOCK_METRICS", "PENSTOCK_MONITOR", "PENSTOCK_TELEMETRY_PROMETHEUS", "PENSTOCK_2"]
)
def test_variables_of_any_service_whose_name_begins_as_ours_are_passed_over(
    service: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in KUBERNETES.items():
        monkeypatch.setenv(f"{service}_{name}", value)
    with caplog.at_level("DEBUG"):
        assert load().settings == NodeSettings()
    assert f"{service}_PORT=tcp://10.0.0.11:9464 is taken for a variable that Kubernetes sets" in caplog.text


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PENSTOCK_LISTEN_PORT", "50051"),
        ("PENSTOCK_TELEMETRY_PORT", "9464"),
        ("PENSTOCK_METRICS_SERVICE_HOST", "metrics.example"),
        ("PENSTOCK_METRICS_SERVICE_PORT", "http"),
        ("PENSTOCK_METRICS_PORT_9464_TCP_PROTO", "9464"),
        ("PENSTOCK_METRICS_PORT", "tcp://10.0.0.11"),
        ("PENSTOCK_METRICS", "tcp://10.0.0.11:9464"),
    ],
)
def test_what_kubernetes_would_not_set_so_is_a_mistake(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match="no such setting"):
        load()


@pytest.mark.parametrize("setting", setting_names())
def test_an_empty_value_is_refused_in_every_layer_for_every_setting(
    setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group, name = setting.split(".")
    told = rf"{setting} \(.*\): is empty"
    with pytest.raises(ConfigurationError, match=told):
        load([write(tmp_path / "a.yaml", f"{group}: {{{name}: ''}}")])
    with pytest.raises(ConfigurationError, match=told):
        load(command_line={setting: Given(" ", "command line --set")})
    monkeypatch.setenv(f"PENSTOCK_{group}_{name}".upper(), "")
    with pytest.raises(ConfigurationError, match=told):
        load()


@pytest.mark.parametrize("namespaces", ["010", "08", "[010]", "'010'", "['0-09']"])
def test_a_namespace_with_a_leading_zero_is_refused(namespaces: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="leading zeros"):
        load([write(tmp_path / "a.yaml", f"admission: {{namespaces: {namespaces}}}")])
