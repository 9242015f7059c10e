"""No way of ending a program that has a node leaves a process or a directory behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from loadtest.node.child_process import command_of_child
from tests.eventually import eventually

_DEMO = (sys.executable, "-m", "services.cli.main", "demo", "--accounts", "2000", "--seconds", "60")
_PROGRAM = """
import sys
from pathlib import Path
from loadtest.node.leftovers import cleared_away
from loadtest.node.node_process import running_node
directory = Path(sys.argv[1])
with cleared_away(directory), running_node(directory) as node:
    print(node.pid, flush=True)
    sys.stdin.read()
"""


def _descendants(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def _is_over(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _environment(temporary: Path) -> dict[str, str]:
    temporary.mkdir()
    return {**os.environ, "TMPDIR": str(temporary)}


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)])
def test_a_demo_that_is_ended_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    temporary, out = tmp_path / "tmp", tmp_path / "out" / "demo.json"
    command = [*_DEMO, "--out", str(out)]
    with subprocess.Popen(command, env=_environment(temporary), stdout=subprocess.DEVNULL) as demo:
        # The load is under way when the generator's worker runs.
        eventually(lambda: any("spawn_main" in " ".join(p.cmdline()) for p in _descendants(demo.pid)), "the load")
        started = _descendants(demo.pid)
        demo.send_signal(number)
        code = demo.wait(30.0)
    assert code == -number
    eventually(lambda: all(_is_over(process) for process in started), "the end of all processes")
    eventually(lambda: not any(temporary.iterdir()), "the removal of the sockets")
    eventually(lambda: not (out.parent / "demo-node").exists(), "the removal of the data")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGQUIT])
def test_every_signal_ends_the_node_and_its_directories(number: signal.Signals, tmp_path: Path) -> None:
    data, temporary = tmp_path / "data", tmp_path / "tmp"
    command = [sys.executable, "-c", _PROGRAM, str(data)]
    with subprocess.Popen(
        command, env=_environment(temporary), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as program:
        assert program.stdout is not None
        node = psutil.Process(int(program.stdout.readline()))
        program.send_signal(number)
    eventually(lambda: _is_over(node), "the end of the node")
    eventually(lambda: not data.exists() and not any(temporary.iterdir()), "the removal of directories")


def test_a_child_whose_parent_is_gone_before_it_began_ends_at_once() -> None:
    command = [*command_of_child("true")]
    place = command.index("true") - 1
    command[place] = "1"
    assert subprocess.run(command, check=False, timeout=20.0).returncode == -signal.SIGKILL


def test_a_child_that_cannot_be_started_says_why() -> None:
    done = subprocess.run(command_of_child("/nobody/here"), check=False, capture_output=True, text=True, timeout=20.0)
    assert done.returncode == 1
    assert "/nobody/here: No such file or directory" in done.stderr
