import errno
import gc
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from services.cli.config import config
from services.cli.dev import dev
from services.cli.main import main
from services.cli.serve import serve
from services.release import running_version
from services.rpc.serving.listening import ListenError
from services.settings.model import NodeSettings


class FakeNode:
    """Stands in for the node: notes the settings it is run with, and ends with the code 7."""

    def __init__(self) -> None:
        self.settings: list[NodeSettings] = []

    async def run(self, settings: NodeSettings) -> int:
        self.settings.append(settings)
        assert settings.node.data_dir.is_dir() or settings.node.data_dir == Path("penstock-data")
        if settings.node.name == "deaf":
            raise ListenError("cannot listen; choose another")
        if settings.node.name == "homeless":
            raise PermissionError(errno.EACCES, "Permission denied", "/data/log")
        return 7


def run(*args: str, node: FakeNode | None = None, environment: dict[str, str] | None = None) -> tuple[int, str]:
    result = CliRunner().invoke(main, args, env=environment, obj=node.run if node else None)
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


@pytest.mark.parametrize(("name", "command"), [("serve", serve), ("dev", dev), ("config", config)])
def test_a_command_is_found_by_its_name_and_listed_with_its_own_summary(name: str, command: click.Command) -> None:
    assert main.get_command(click.Context(main), name) is command
    assert command.get_short_help_str(200) in run("--help")[1]


def test_an_unknown_command_is_refused() -> None:
    code, output = run("sevre")
    assert code == 2
    assert "No such command" in output


def test_the_version_is_the_distribution_s() -> None:
    code, output = run("--version")
    assert code == 0
    assert output.split()[-1] == running_version()


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--set", "log.sync_mod=none"], "did you mean log.sync_mode"),
        (["--set", "log.sync_mode"], "group.name=value"),
        (["--set", "queue.slots=3"], "queue.slots = '3' (command line --set)"),
        (["--config", "/does/not/exist.yaml"], "exist.yaml: cannot be read"),
        (["--data-dir", ""], "node.data_dir (command line --data-dir): is empty"),
        (["--set", "node.data_dir="], "node.data_dir (command line --set): is empty"),
        (["--listen", "nowhere"], "write host:port"),
    ],
)
def test_settings_that_cannot_be_used_are_explained_without_a_traceback(args: list[str], told: str) -> None:
    for command in (["config", "show"], ["serve"], ["dev"]):
        code, output = run(*command, *args)
        assert code == 2
        assert told in output


def test_serve_runs_the_node_and_ends_with_its_code() -> None:
    node = FakeNode()
    code, _ = run("serve", "--sync-mode", "interval", node=node)
    assert code == 7
    assert node.settings[0].log.sync_mode == "interval"
    assert gc.isenabled(), "garbage is not collected while a node starts, and is again afterwards"


def test_a_node_that_cannot_start_says_why_in_a_line() -> None:
    code, output = run("serve", "--set", "node.name=deaf", node=FakeNode())
    assert (code, output) == (1, "Error: cannot listen; choose another\n")


def test_what_the_system_refuses_is_told_with_its_file() -> None:
    code, output = run("serve", "--set", "node.name=homeless", node=FakeNode())
    assert (code, output) == (1, "Error: /data/log: Permission denied\n")


def test_dev_removes_its_log_at_the_end() -> None:
    node = FakeNode()
    code, _ = run("dev", node=node)
    assert code == 7
    assert not node.settings[0].node.data_dir.exists()


def test_dev_keeps_a_directory_that_was_named(tmp_path: Path) -> None:
    node = FakeNode()
    run("dev", "--data-dir", str(tmp_path), node=node)
    assert node.settings[0].node.data_dir == tmp_path
    assert tmp_path.is_dir()
