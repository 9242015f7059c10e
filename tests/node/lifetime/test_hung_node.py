"""A node that hangs, alive and without a word, holds up no client that closes, and each call learns what it can."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import penstock
from penstock import AsyncClient, Client, ClientClosed, OutcomeUnknown, PenstockError
from tests.node.serve_process import ServeProcess

CLOSE_S = 3.5
"""What a close takes besides its timeout: a second for the session, one for the call, one for what sends, and some."""


@contextmanager
def hung(node: ServeProcess) -> Iterator[None]:
    assert node.process is not None
    os.kill(node.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(node.process.pid, signal.SIGCONT)


def outcome(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:
        return error


@pytest.mark.parametrize("columns", [1, 1_000_000], ids=["little under way", "more under way than a connection takes"])
def test_closing_a_blocking_client_keeps_its_bound_and_tells_each_call_what_is_known(
    node: ServeProcess, columns: int
) -> None:
    client = Client(node.target)
    client.submit(penstock.Put(b"k", b"v"))
    blocks = client.watch(from_index=1)
    next(blocks)
    with hung(node):
        submission = client.start(penstock.Put(b"k", b"w"))
        outcomes: dict[str, Any] = {}
        calls: dict[str, Callable[[], Any]] = {
            "put": lambda: client.submit(penstock.Put(b"k", b"w")),
            "frames": lambda: client.submit_records(penstock.transfers(1, 2, np.ones(columns, np.int64))),
            "get": lambda: client.get(b"k"),
            "watch": lambda: list(blocks),
            "started": submission.result,
        }
        threads = [
            threading.Thread(target=lambda name=name, call=call: outcomes.update({name: outcome(call)}))
            for name, call in calls.items()
        ]
        for thread in threads:
            thread.start()
        began = time.monotonic()
        client.close(timeout=0.5)
        assert time.monotonic() - began < 0.5 + CLOSE_S
        for thread in threads:
            thread.join(5)
            assert not thread.is_alive()
        client.close()
    assert isinstance(outcomes["started"], OutcomeUnknown)
    assert isinstance(outcomes["put"], OutcomeUnknown if columns == 1 else OutcomeUnknown | ClientClosed)
    assert isinstance(outcomes["frames"], PenstockError)
    assert isinstance(outcomes["get"], ClientClosed)
    assert outcomes["watch"] == []


async def test_closing_an_asyncio_client_keeps_its_bound_and_raises_nothing(node: ServeProcess) -> None:
    client = AsyncClient(node.target)
    await client.submit(penstock.Put(b"k", b"v"))
    with hung(node):
        waiting = [
            asyncio.create_task(work)
            for work in (client.submit(penstock.Put(b"k", b"w")), client.get(b"k"), client.status())
        ]
        await asyncio.sleep(0.1)
        began = time.monotonic()
        await client.close(timeout=0.5)
        assert time.monotonic() - began < 0.5 + CLOSE_S
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(each) for each in outcomes] == [OutcomeUnknown, ClientClosed, ClientClosed]


async def test_an_idle_client_of_a_hung_node_closes_in_time(node: ServeProcess) -> None:
    used, unused = AsyncClient(node.target), AsyncClient(node.target)
    await used.submit(penstock.Put(b"k", b"v"))
    with hung(node):
        for client in (used, unused):
            began = time.monotonic()
            await client.close()
            assert time.monotonic() - began < CLOSE_S


async def test_a_close_that_is_cancelled_disconnects_at_once(node: ServeProcess) -> None:
    client = AsyncClient(node.target)
    await client.submit(penstock.Put(b"k", b"v"))
    with hung(node):
        waiting = asyncio.create_task(client.submit(penstock.Put(b"k", b"w")))
        await asyncio.sleep(0.1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.close(), 0.2)
        assert isinstance((await asyncio.gather(waiting, return_exceptions=True))[0], OutcomeUnknown)


async def test_a_client_that_never_reached_its_hung_node_closes_in_time(tmp_path: Path, node: ServeProcess) -> None:
    with hung(node):
        client = AsyncClient(node.target)
        waiting = asyncio.create_task(client.submit(penstock.Put(b"k", b"w")))
        await asyncio.sleep(0.1)
        began = time.monotonic()
        await client.close(timeout=0.2)
        assert time.monotonic() - began < 0.2 + CLOSE_S
        assert isinstance((await asyncio.gather(waiting, return_exceptions=True))[0], PenstockError)
