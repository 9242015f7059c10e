"""A client that nobody closed warns, and leaves no thread, no connection and no process that does not end."""

import asyncio
import gc
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from penstock import AsyncClient, Client, Put
from tests.eventually import eventually
from tests.penstock.client.fake_node import FakeNode
from tests.penstock.client.test_clients import threaded_node
from tests.penstock.client.turns import until
from tests.penstock.client.watching.test_watch import block

__all__ = ["threaded_node"]
ROOT = Path(__file__).parents[4]


def sockets() -> int:
    count = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            count += entry.readlink().name.startswith("socket:")
        except FileNotFoundError:  # the listing's own
            continue
    return count


def client_threads() -> int:
    return sum(thread.name == "penstock client" for thread in threading.enumerate())


def test_blocking_clients_that_are_dropped_warn_and_leave_nothing(threaded_node: FakeNode) -> None:
    before = sockets()
    for _ in range(5):
        client = Client(threaded_node.target)
        assert client.submit(Put(b"k", b"v")).ok
        with pytest.warns(ResourceWarning, match=r"unclosed <penstock.*Client.*: close\(\) it"):
            del client
    eventually(lambda: client_threads() == 0, "the end of the clients' threads")
    eventually(lambda: sockets() <= before, "the end of the clients' connections")
    assert len(threaded_node.ended) == 5, "their sessions are ended"


async def test_asyncio_clients_that_are_dropped_warn_and_leave_nothing(node: FakeNode) -> None:
    before, tasks = sockets(), len(asyncio.all_tasks())
    for _ in range(5):
        client = AsyncClient(node.target)
        assert (await client.submit(Put(b"k", b"v"))).ok
        with pytest.warns(ResourceWarning, match=r"unclosed <penstock.*AsyncClient.*`async with AsyncClient"):
            del client
    await until(lambda: len(asyncio.all_tasks()) <= tasks)
    await until(lambda: gc.collect() is not None and sockets() <= before)


async def test_a_client_that_was_closed_or_never_made_warns_of_nothing(
    node: FakeNode, recwarn: pytest.WarningsRecorder
) -> None:
    async with AsyncClient(node.target) as client:
        await client.submit(Put(b"k", b"v"))
    del client
    with pytest.raises(ValueError, match="names no host"):
        AsyncClient("")
    with pytest.raises(ValueError, match="names no host"):
        await asyncio.to_thread(Client, "")
    gc.collect()
    assert not [warning for warning in recwarn if warning.category is ResourceWarning]


PROGRAMS = {
    "a blocking client": "client = penstock.Client(target); client.submit(penstock.Put(b'k', b'v'))",
    "an open watch": "client = penstock.Client(target); blocks = client.watch(); next(blocks)",
    "a thread that waits": (
        "import threading; client = penstock.Client(target); blocks = client.watch(); next(blocks)\n"
        "threading.Thread(target=lambda: list(blocks), daemon=True).start()"
    ),
    "an asyncio client": (
        "import asyncio\n"
        "async def main():\n"
        "    global client\n"
        "    client = penstock.AsyncClient(target); await client.submit(penstock.Put(b'k', b'v'))\n"
        "asyncio.run(main())"
    ),
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_a_program_that_ends_without_closing_its_client_ends_and_says_so(threaded_node: FakeNode, program: str) -> None:
    threaded_node.state.blocks = [block(1)]
    text = f"import penstock; target = {threaded_node.target!r}\n{program}"
    done = subprocess.run(
        [sys.executable, "-W", "always::ResourceWarning", "-c", text],
        check=False, capture_output=True, text=True, cwd=ROOT, timeout=20, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "ResourceWarning: unclosed <penstock" in done.stderr
    assert "Traceback" not in done.stderr
