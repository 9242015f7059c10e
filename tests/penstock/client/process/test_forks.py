"""A forked child is told at once that an inherited client is closed, and makes its own, whatever its parent has."""

import subprocess
import sys
from pathlib import Path

import pytest

import penstock
from tests.penstock.client.fake_node import FakeNode
from tests.penstock.client.process.forked_process import CALLS
from tests.penstock.client.test_clients import threaded_node
from tests.penstock.client.watching.test_watch import block

__all__ = ["threaded_node"]
ROOT = Path(__file__).parents[4]


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], check=False, capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", ["blocking", "asynchronous"])
def test_every_call_of_an_inherited_client_raises_clientclosed_at_once_and_an_own_one_works(
    threaded_node: FakeNode, kind: str
) -> None:
    threaded_node.state.blocks = [block(4)]
    said = run("-m", "tests.penstock.client.process.forked_process", kind, threaded_node.target)
    expected = [f"{name} {'nothing' if name == 'close' else 'ClientClosed'} " for name in CALLS]
    own = ["no block Unavailable ", "own", *["own asyncio"] * (kind == "asynchronous")]
    assert said.splitlines() == [*expected, *own, "status 0"]


def test_a_child_of_a_child_makes_its_own_client_too(threaded_node: FakeNode) -> None:
    threaded_node.state.blocks = [block(4)]
    said = run("-m", "tests.penstock.client.process.forked_process", "two_generations", threaded_node.target)
    expected = ["inherited ClientClosed ", "no block Unavailable ", "own", "status 0"]
    assert said.splitlines() == [*expected, "encrypted UnsupportedRuntime ", "status 0"]


def test_a_child_makes_its_own_client_where_none_was_open(threaded_node: FakeNode) -> None:
    said = run("-m", "tests.penstock.client.process.forked_process", "closed_before", threaded_node.target)
    assert said.splitlines() == ["own True", "status 0"]


def test_pools_of_forked_workers_have_their_own_clients_beside_the_busy_ones_of_their_parent(
    threaded_node: FakeNode,
) -> None:
    said = run("-m", "tests.penstock.client.process.forked_process", "pool_beside_busy_threads", threaded_node.target)
    assert said.splitlines() == ["600"] * 3
    appended = threaded_node.records["operation"] == penstock.Opcode.APPEND
    assert int(appended.sum()) == 1800


def test_in_a_process_that_gevent_has_patched_a_client_says_why_it_cannot_run() -> None:
    said = run(
        "-c",
        "from gevent import monkey; monkey.patch_all()\n"
        "import penstock\n"
        "try: penstock.Client('127.0.0.1:1')\n"
        "except penstock.UnsupportedRuntime as error: print(error)\n",
    )
    assert said.startswith("gevent has patched this process")


def test_a_client_works_beside_a_gevent_that_has_patched_nothing_it_needs(threaded_node: FakeNode) -> None:
    said = run(
        "-c",
        "from gevent import monkey; monkey.patch_time()\n"
        "import gevent, penstock\n"
        f"with penstock.Client({threaded_node.target!r}) as client:\n"
        "    jobs = [gevent.get_hub().threadpool.spawn(client.transfer, 1, 2, 3) for _ in range(20)]\n"
        "    print(sum(job.get().ok for job in jobs))\n",
    )
    assert said == "20\n"
