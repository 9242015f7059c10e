"""An application hears what becomes of its client's connection: each change once, with its reason, and in the log."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest

from penstock import AsyncClient, Client, ConnectionEvent, ConnectionState, Put, RetryOptions, Unavailable
from tests.eventually import eventually
from tests.penstock.client.fake_node import FakeNode
from tests.penstock.client.test_clients import threaded_node
from tests.penstock.client.transport.test_retrying import overloaded
from tests.penstock.client.turns import until
from tests.penstock.client.watching.test_watch import block

__all__ = ["threaded_node"]
pytestmark = pytest.mark.usefixtures("each_transport")

QUICK = RetryOptions(deadline_s=10, backoff_base_ms=5, backoff_cap_ms=20)
CONNECTED, LOST, RETRYING = ConnectionState.CONNECTED, ConnectionState.LOST, ConnectionState.RETRYING
RECONNECTED, CLOSED = ConnectionState.RECONNECTED, ConnectionState.CLOSED


def told_once(events: list[ConnectionEvent]) -> list[ConnectionState]:
    """The states in order, tries in a row as one."""
    states = [event.state for event in events]
    return states[:1] + [after for before, after in pairwise(states) if (before, after) != (RETRYING, RETRYING)]


async def test_an_outage_is_told_from_its_beginning_to_its_end(
    node: FakeNode, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "penstock.client")
    events: list[ConnectionEvent] = []
    async with AsyncClient(node.target, retry=QUICK, on_connection=events.append) as client:
        await client.submit(Put(b"k", b"v"))
        await node.stop()
        waiting = asyncio.create_task(client.submit(Put(b"k", b"v")))
        await until(lambda: sum(event.state is RETRYING for event in events) >= 2)
        await node.start()
        await waiting
    assert told_once(events) == [CONNECTED, LOST, RETRYING, RECONNECTED, CLOSED]
    assert {event.target for event in events} == {node.target}
    lost, again = (next(event for event in events if event.state is state) for state in (LOST, RECONNECTED))
    assert isinstance(lost.error, Unavailable)
    assert again.outage_s is not None
    assert again.outage_s > 0
    for event in events:
        assert (event.retry_in_s is not None) == (event.state is RETRYING)
        assert (event.error is not None) == (event.state in (LOST, RETRYING))
    logged = [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "penstock.client"]
    told = [message for level, message in logged if level in ("INFO", "WARNING")]
    assert len(told) == 3
    assert told[0] == f"connected to {node.target}"
    assert told[1].startswith(f"connection to {node.target} lost: ")
    assert told[2].startswith(f"connected to {node.target} again, after ")


async def test_a_node_that_is_not_there_is_told_at_the_first_try(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "penstock.client")
    events: list[ConnectionEvent] = []
    retry = RetryOptions(deadline_s=0.3, backoff_base_ms=5, backoff_cap_ms=20)
    async with AsyncClient(f"unix:{tmp_path}/none.sock", retry=retry, on_connection=events.append) as client:
        with pytest.raises(Unavailable):
            await client.get(b"k")
        with pytest.raises(Unavailable):
            await client.submit(Put(b"k", b"v"))
    assert told_once(events) == [RETRYING, CLOSED]
    assert len([record for record in caplog.records if record.name == "penstock.client"]) == 1


async def test_a_watch_alone_tells_of_an_outage_too(node: FakeNode) -> None:
    node.state.blocks = [block(1)]
    events: list[ConnectionEvent] = []
    async with AsyncClient(node.target, retry=QUICK, on_connection=events.append) as client:
        watching = client.watch()
        await anext(watching)
        following = asyncio.create_task(anext(watching))
        await node.stop()
        await until(lambda: RETRYING in told_once(events))
        node.state.blocks = []
        await node.start()
        await until(lambda: RECONNECTED in told_once(events))  # though no block has come
        following.cancel()
        await asyncio.wait([following])
    assert told_once(events) == [CONNECTED, LOST, RETRYING, RECONNECTED, CLOSED]


@contextlib.asynccontextmanager
async def slow_relay(path: Path, target: str, delay_s: float) -> AsyncIterator[str]:
    """An address at which the node is reached, but begins to speak only after a while."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        node_reader, node_writer = await asyncio.open_unix_connection(target.removeprefix("unix:"))

        async def copy(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
            while chunk := await source.read(1 << 16):
                to.write(chunk)
                await to.drain()
            to.close()

        async def answer() -> None:
            await asyncio.sleep(delay_s)
            await copy(node_reader, writer)

        with contextlib.suppress(OSError):
            await asyncio.gather(copy(reader, node_writer), answer())

    async with await asyncio.start_unix_server(serve, path):
        yield f"unix:{path}"


async def test_a_node_that_takes_a_while_to_answer_a_connection_is_waited_for(node: FakeNode, tmp_path: Path) -> None:
    events: list[ConnectionEvent] = []
    async with (
        slow_relay(tmp_path / "relay.sock", node.target, 0.5) as target,
        AsyncClient(target, on_connection=events.append) as client,
    ):
        assert (await client.submit(Put(b"k", b"v"))).ok
        await client.get(b"k")
    assert told_once(events) == [CONNECTED, CLOSED]


async def test_refusals_and_deadlines_are_no_outage(node: FakeNode) -> None:
    events: list[ConnectionEvent] = []
    async with AsyncClient(node.target, on_connection=events.append) as client:
        await client.submit(Put(b"k", b"v"))
        node.refusals.append(overloaded())
        await client.submit(Put(b"k", b"v"))
        node.state.answering.clear()
        with pytest.raises(Unavailable):
            await client.get(b"k", timeout=0.05)
        node.state.answering.set()
    assert told_once(events) == [CONNECTED, CLOSED]


async def test_a_listener_that_raises_harms_nobody(node: FakeNode, caplog: pytest.LogCaptureFixture) -> None:
    def listener(event: ConnectionEvent) -> None:
        raise RuntimeError(event.state.value)

    async with AsyncClient(node.target, on_connection=listener) as client:
        assert (await client.submit(Put(b"k", b"v"))).ok
    assert "on_connection raised for connected" in caplog.text


def test_a_blocking_client_tells_the_same(threaded_node: FakeNode) -> None:
    events: list[ConnectionEvent] = []
    with Client(threaded_node.target, on_connection=events.append) as client:
        client.get(b"k")
    eventually(lambda: len(events) == 2, "both events")
    assert told_once(events) == [CONNECTED, CLOSED]
