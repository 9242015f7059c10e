import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

import click
import pytest
from click.testing import CliRunner

import services
from services.cli.main import main
from services.release import running_version
from services.rpc.server import ListenError
from services.settings.model import NodeSettings, setting_names


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> list[NodeSettings]:
    """Stand in for the node: notes the settings it is run with, and ends with the code 7."""
    ran: list[NodeSettings] = []

    async def run(settings: NodeSettings) -> int:
        ran.append(settings)
        assert settings.node.data_dir.is_dir() or settings.node.data_dir == Path("penstock-data")
        if settings.node.name == "deaf":
            raise ListenError("cannot listen; choose another")
        return 7

    module = ModuleType("services.node")
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "services.node", module)
    monkeypatch.setattr(services, "node", module, raising=False)
    return ran


def run(*args: str, environment: dict[str, str] | None = None) -> tuple[int, str]:
    result = CliRunner().invoke(main, args, env=environment)
    return result.exit_code, result.output


def test_help_imports_neither_numba_nor_grpc_nor_pydantic() -> None:
    program = (
        "import sys\nfrom services.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "found = {'numba', 'numpy', 'grpc', 'pydantic', 'opentelemetry', 'rich'} & set(sys.modules)\n"
        "assert not found, found"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert "Run a node until it is told to stop" in done.stdout


def test_help_lists_every_command_that_is_installed() -> None:
    code, output = run("--help")
    assert code == 0
    assert all(f"  {name}" in output for name in entry_points(group="penstock.commands").names)


@pytest.mark.parametrize("name", ["serve", "dev", "config"])
def test_the_summary_in_the_list_is_the_command_s_own(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert command.get_short_help_str(200) in run("--help")[1]


def test_an_unknown_command_is_refused() -> None:
    code, output = run("sevre")
    assert code == 2
    assert "No such command" in output


def test_the_version_is_the_distribution_s() -> None:
    code, output = run("--version")
    assert code == 0
    assert output.split()[-1] == running_version()


def test_config_show_prints_every_setting_and_where_it_came_from(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    path.write_text("log: {sync_interval_ms: 7}")
    given = ["--config", str(path), "--set", "queue.slots=512", "--listen", "unix:/tmp/a", "--listen", "b:1"]
    code, output = run("config", "show", *given, environment={"PENSTOCK_SHUTDOWN_GRACE_S": "1.5"})
    assert code == 0
    rows = {line.split()[0]: line.split(maxsplit=2)[1:] for line in output.splitlines()}
    assert list(rows) == setting_names()
    assert rows["log.sync_interval_ms"] == ["7", str(path)]
    assert rows["queue.slots"] == ["512", "command line --set"]
    assert rows["listen.addresses"] == ["unix:/tmp/a,b:1", "command line --listen"]
    assert rows["shutdown.grace_s"] == ["1.5", "environment PENSTOCK_SHUTDOWN_GRACE_S"]
    assert rows["log.sync_mode"] == ["block", "default"]


def test_what_config_show_prints_can_be_given_back() -> None:
    _, output = run("config", "show")
    assignments = [word for line in output.splitlines() for word in ("--set", "=".join(line.split()[:2]))]
    code, again = run("config", "show", "--json", *assignments)
    assert code == 0
    assert {row["source"] for row in json.loads(again).values()} == {"command line --set"}
    assert [row["value"] for row in json.loads(again).values()] == [
        row["value"] for row in json.loads(run("config", "show", "--json")[1]).values()
    ]


def test_the_configuration_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    path.write_text("node: {name: from-file}")
    assert "from-file" in run("config", "show", environment={"PENSTOCK_CONFIG": str(path)})[1]


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--set", "log.sync_mod=none"], "did you mean log.sync_mode"),
        (["--set", "log.sync_mode"], "group.name=value"),
        (["--set", "queue.slots=3"], "queue.slots = '3' (command line --set)"),
        (["--config", "/does/not/exist.yaml"], "exist.yaml: cannot be read"),
        (["--listen", "nowhere"], "write host:port"),
    ],
)
def test_settings_that_cannot_be_used_are_explained_without_a_traceback(args: list[str], told: str) -> None:
    for command in (["config", "show"], ["serve"], ["dev"]):
        code, output = run(*command, *args)
        assert code == 2
        assert told in output


def test_serve_runs_the_node_and_ends_with_its_code(node: list[NodeSettings]) -> None:
    code, _ = run("serve", "--sync-mode", "interval")
    assert code == 7
    assert node[0].log.sync_mode == "interval"


def test_a_node_that_cannot_start_says_why_in_a_line(node: list[NodeSettings]) -> None:
    code, output = run("serve", "--set", "node.name=deaf")
    assert (code, output) == (1, "Error: cannot listen; choose another\n")


def test_dev_removes_its_log_at_the_end(node: list[NodeSettings]) -> None:
    code, _ = run("dev")
    assert code == 7
    assert not node[0].node.data_dir.exists()


def test_dev_keeps_a_directory_that_was_named(node: list[NodeSettings], tmp_path: Path) -> None:
    run("dev", "--data-dir", str(tmp_path))
    assert node[0].node.data_dir == tmp_path
    assert tmp_path.is_dir()
