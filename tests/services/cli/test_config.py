"""``penstock config show`` prints what is in force, and where each value came from."""

import json
from pathlib import Path

from click.testing import CliRunner

from services.cli.config import config
from services.settings.model import setting_names


def run(*args: str, environment: dict[str, str] | None = None) -> tuple[int, str]:
    result = CliRunner().invoke(config, args, env=environment)
    return result.exit_code, result.output


def test_config_show_prints_every_setting_and_where_it_came_from(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    path.write_text("log: {sync_interval_ms: 7}")
    given = ["--config", str(path), "--set", "queue.slots=512", "--listen", "unix:/tmp/a", "--listen", "b:1"]
    code, output = run("show", *given, environment={"PENSTOCK_SHUTDOWN_GRACE_S": "1.5"})
    assert code == 0
    rows = {line.split()[0]: line.split(maxsplit=2)[1:] for line in output.splitlines()}
    assert list(rows) == setting_names()
    assert rows["log.sync_interval_ms"] == ["7", str(path)]
    assert rows["queue.slots"] == ["512", "command line --set"]
    assert rows["listen.addresses"] == ["unix:/tmp/a,b:1", "command line --listen"]
    assert rows["shutdown.grace_s"] == ["1.5", "environment PENSTOCK_SHUTDOWN_GRACE_S"]
    assert rows["log.sync_mode"] == ["block", "default"]


def test_what_config_show_prints_can_be_given_back() -> None:
    _, output = run("show")
    assignments = [word for line in output.splitlines() for word in ("--set", "=".join(line.split()[:2]))]
    code, again = run("show", "--json", *assignments)
    assert code == 0
    assert {row["source"] for row in json.loads(again).values()} == {"command line --set"}
    assert [row["value"] for row in json.loads(again).values()] == [
        row["value"] for row in json.loads(run("show", "--json")[1]).values()
    ]


def test_the_configuration_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    path.write_text("node: {name: from-file}")
    assert "from-file" in run("show", environment={"PENSTOCK_CONFIG": str(path)})[1]


def test_values_are_printed_as_the_command_line_takes_them() -> None:
    _, output = run("show")
    rows = {line.split()[0]: line.split()[1] for line in output.splitlines()}
    assert rows["telemetry.otlp_endpoint"] == "none"
    assert rows["pooling.preallocate"] == "false"
