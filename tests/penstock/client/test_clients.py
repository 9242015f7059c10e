"""The blocking client does what the asyncio one does, from any thread; the package is light to import."""

import asyncio
import inspect
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

import penstock
from penstock import AsyncClient, Client, ClientClosed, InvalidOperation, OpenAccount, Put, Transfer, ValueKey
from penstock.contract.record import RECORD
from tests.eventually import eventually
from tests.penstock.client.fake_node import FakeNode
from tests.penstock.client.watching.test_watch import block

pytestmark = pytest.mark.usefixtures("each_transport")


@pytest.fixture
def threaded_node(tmp_path: Path) -> Iterator[FakeNode]:
    """A fake node on an event loop of its own, as blocking callers need."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()

    async def start() -> FakeNode:
        fake = FakeNode(tmp_path / "node.sock")
        await fake.start()
        return fake

    fake = asyncio.run_coroutine_threadsafe(start(), loop).result()
    yield fake
    asyncio.run_coroutine_threadsafe(fake.stop(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_every_call_works_without_an_event_loop(threaded_node: FakeNode) -> None:
    threaded_node.state.blocks = [block(4)]
    with Client(threaded_node.target, client_id=3, next_sequence=1) as client:
        assert client.transfer(1, 2, 3).ok
        assert client.submit(Put(b"k", b"v")).position == 1
        assert client.submit(Put(b"k", b"v"), sequence=2).duplicate
        assert len(client.submit_chain([OpenAccount(1), OpenAccount(2)])) == 2
        assert len(client.submit_many(Transfer(1, 2, 3) for _ in range(100))) == 100
        assert len(client.submit_frame(np.zeros(5, RECORD)).results) == 5
        assert [len(receipt.results) for receipt in client.submit_records(np.zeros(10_005, RECORD))] == [10_000, 5]
        assert not client.get(b"k").found
        assert not client.get_counter(b"k").found
        assert not client.get_account(1).found
        assert len(client.read_many([ValueKey(b"k")])) == 1
        assert next(client.watch()).log_index == 4
        assert client.status().condition == "serving"
    assert set(threaded_node.records["client_id"].tolist()) == {3}


def test_threads_share_a_client(threaded_node: FakeNode) -> None:
    with Client(threaded_node.target) as client, ThreadPoolExecutor(16) as threads:
        positions = sorted(threads.map(lambda i: client.transfer(i, i + 1, 1).position, range(1, 201)))
    assert positions == list(range(200))


def test_errors_reach_the_caller_and_a_closed_client_says_so(threaded_node: FakeNode) -> None:
    client = Client(threaded_node.target)
    with pytest.raises(InvalidOperation):
        client.transfer(1, 2, 0)
    client.close()
    client.close()
    with pytest.raises(ClientClosed):
        client.transfer(1, 2, 3)


def test_both_clients_have_the_same_methods_with_the_same_parameters() -> None:
    def methods(client: type) -> dict[str, list[str]]:
        public = inspect.getmembers(client, inspect.isfunction)
        return {name: list(inspect.signature(m).parameters) for name, m in public if not name.startswith("_")}

    assert methods(Client) == methods(AsyncClient)


def test_every_public_name_can_be_imported() -> None:
    for name in penstock.__all__:
        assert getattr(penstock, name).__class__ is not None
    assert set(penstock.__all__) <= set(dir(penstock))
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = penstock.Nothing  # type: ignore[attr-defined]


def test_importing_costs_only_what_is_used() -> None:
    heavy = "numba xxhash pydantic opentelemetry click rich services replication statestore pooling txqueue"
    program = f"""
import sys, penstock
assert not {{"grpc", "numpy", "google"}} & set(sys.modules), "the package itself must stay light"
from penstock import AsyncClient, Client
assert not set({heavy!r}.split()) & set(sys.modules), "a client pays for the stubs, numpy and grpc alone"
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[3])


def test_closing_ends_the_waits_of_other_threads(threaded_node: FakeNode) -> None:
    client = Client(threaded_node.target)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(lambda: list(client.watch()))
        eventually(lambda: threaded_node.state.watches, "the watch")
        client.close()
        assert waiting.result(10) == []


def test_ctrl_c_in_a_watch_is_a_keyboardinterrupt_and_the_client_goes_on(threaded_node: FakeNode) -> None:
    program = """
import sys, os, signal, threading
import penstock
with penstock.Client(sys.argv[1]) as client:
    try:
        for block in client.watch():
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    except KeyboardInterrupt:
        print("interrupted")
    print(client.transfer(1, 2, 3).ok)
"""
    threaded_node.state.blocks = [block(4)]
    done = subprocess.run(
        [sys.executable, "-c", program, threaded_node.target],
        check=False,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\nTrue\n", "")
