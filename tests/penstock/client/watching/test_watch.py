"""A watch yields every block once, and goes on where it stopped."""

import asyncio
from typing import Any

import numpy as np
import pytest

from penstock.client.async_client import AsyncClient
from penstock.client.errors import InvalidOperation, Unavailable
from penstock.client.operations import Put, Transfer
from penstock.client.options import RetryOptions
from penstock.contract.record import RECORD
from penstock.v1.state_pb2 import WatchResponse
from tests.penstock.client.fake_node import FakeNode
from tests.penstock.client.turns import turns

pytestmark = pytest.mark.usefixtures("each_transport")

QUICK = RetryOptions(deadline_s=0.5, backoff_base_ms=1, backoff_cap_ms=5)


def block(index: int) -> WatchResponse:
    records = np.zeros(2, RECORD)
    records["payload_length"] = [1, 2]
    return WatchResponse(
        log_index=index,
        positions=np.array([index * 10, index * 10 + 1], np.uint64).tobytes(),
        records=records.tobytes(),
        payloads=b"abb",
        results=b"\1\1",
    )


async def test_a_watch_yields_every_block_once_through_broken_connections(node: FakeNode) -> None:
    node.state.blocks = [block(index) for index in (3, 5, 6, 9)]
    node.state.breaks_after = 1
    async with AsyncClient(node.target, retry=QUICK) as client:
        watching = client.watch(namespaces=[7], operations=[Put, Transfer], effective_only=True)
        seen = [await anext(watching) for _ in range(4)]
        await watching.aclose()
    assert [each.log_index for each in seen] == [3, 5, 6, 9]
    assert seen[1].positions.tolist() == [50, 51]
    assert [seen[0].payload(0), seen[0].payload(1)] == [b"a", b"bb"]
    assert [request.from_index for request in node.state.watches] == [0, 4, 6, 7]
    last = node.state.watches[-1]
    assert (list(last.namespaces), list(last.operations), last.effective_only) == ([7], [2, 6], True)


async def test_a_watch_ends_when_its_client_is_closed(node: FakeNode) -> None:
    client = AsyncClient(node.target)
    node.state.blocks = [block(1)]
    watching = client.watch()
    assert (await anext(watching)).log_index == 1
    rest = asyncio.create_task(anext(watching, None))
    await turns()
    await client.close()
    assert await asyncio.wait_for(rest, 5) is None


async def test_a_watch_goes_on_after_an_outage_longer_than_the_deadline(node: FakeNode) -> None:
    node.state.blocks = [block(1)]
    async with AsyncClient(
        node.target, retry=RetryOptions(deadline_s=0.1, backoff_base_ms=1, backoff_cap_ms=5)
    ) as client:
        watching = client.watch()
        assert (await anext(watching)).log_index == 1
        await node.stop()
        following = asyncio.create_task(anext(watching))
        await asyncio.wait([following], timeout=0.5)
        assert not following.done()
        node.state.blocks.append(block(2))
        await node.start()
        assert (await asyncio.wait_for(following, 10)).log_index == 2


async def test_a_watch_with_a_timeout_ends_by_it_with_or_without_a_node(node: FakeNode) -> None:
    node.state.blocks = [block(1)]
    async with AsyncClient(node.target) as client:
        watching = client.watch(timeout=0.2)
        assert (await anext(watching)).log_index == 1
        with pytest.raises(Unavailable, match="no block from 2 on"):
            await asyncio.wait_for(anext(watching), 5)
        await node.stop()
        with pytest.raises(Unavailable):
            await asyncio.wait_for(anext(client.watch(timeout=0.2)), 5)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("from_index", {"from_index": -1}),
        ("from_index", {"from_index": "1"}),
        ("namespaces", {"namespaces": ["1"]}),
        ("namespaces", {"namespaces": [1 << 16]}),
        ("namespaces", {"namespaces": 5}),
        ("operations", {"operations": [6]}),
        ("operations", {"operations": Put}),
        ("effective_only", {"effective_only": "no"}),
        ("timeout", {"timeout": 0}),
    ],
)
async def test_a_watch_with_a_wrong_argument_is_refused_by_its_name(
    node: FakeNode, name: str, arguments: dict[str, Any]
) -> None:
    async with AsyncClient(node.target) as client:
        with pytest.raises(InvalidOperation, match=rf"^{name} "):
            client.watch(**arguments)
