"""A forked child is told at once that it has no client; where there was none open, it makes its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.penstock.client.fake_node import FakeNode
from tests.penstock.client.process.forked_process import CALLS
from tests.penstock.client.test_clients import threaded_node

__all__ = ["threaded_node"]
ROOT = Path(__file__).parents[4]


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], check=False, capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", ["blocking", "asynchronous"])
def test_every_call_of_an_inherited_client_raises_clientclosed_at_once(threaded_node: FakeNode, kind: str) -> None:
    said = run("-m", "tests.penstock.client.process.forked_process", kind, threaded_node.target)
    expected = [f"{name} {'nothing' if name == 'close' else 'ClientClosed'} " for name in CALLS]
    assert said.splitlines() == [*expected, "new UnsupportedRuntime ", "status 0"]


def test_a_child_makes_its_own_client_where_none_was_open(threaded_node: FakeNode) -> None:
    said = run("-m", "tests.penstock.client.process.forked_process", "closed_before", threaded_node.target)
    assert said.splitlines() == ["own True", "status 0"]


def test_in_a_process_that_gevent_has_patched_a_client_says_why_it_cannot_run(tmp_path: Path) -> None:
    (tmp_path / "gevent").mkdir()
    (tmp_path / "gevent" / "__init__.py").touch()
    (tmp_path / "gevent" / "monkey.py").write_text("def is_module_patched(name): return name == 'socket'")
    said = run(
        "-c",
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import gevent.monkey, penstock\n"
        "try: penstock.Client('127.0.0.1:1')\n"
        "except penstock.UnsupportedRuntime as error: print(error)\n",
    )
    assert said.startswith("gevent has patched this process")
