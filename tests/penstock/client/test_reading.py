"""Reads name entries of three kinds."""

import pytest

from penstock.client.async_client import AsyncClient
from penstock.client.errors import InvalidOperation, Unavailable
from penstock.client.keys import AccountKey, CounterKey, Entry, Key, ValueKey
from penstock.client.options import RetryOptions
from penstock.v1.state_pb2 import Entry as EntryMessage
from tests.penstock.client.fake_node import FakeNode

pytestmark = pytest.mark.usefixtures("each_transport")

QUICK = RetryOptions(deadline_s=0.5, backoff_base_ms=1, backoff_cap_ms=5)


async def test_the_three_kinds_of_keys_are_apart(node: FakeNode) -> None:
    kinds: list[Key] = [ValueKey(b"k", 3), CounterKey(b"k", 3), AccountKey(ord("k"), 3)]
    for i, key in enumerate(kinds):
        node.state.entries[key.message().SerializeToString()] = EntryMessage(
            found=True, version=i + 1, amount=-i, value=bytes(i)
        )
    async with AsyncClient(node.target) as client:
        assert await client.get(b"k", namespace=3) == Entry(True, 1, b"", 0, False, 42)
        assert await client.get_counter(b"k", namespace=3) == Entry(True, 2, b"\0", -1, False, 42)
        assert (await client.get_account(ord("k"), namespace=3)).version == 3
        assert [entry.version for entry in await client.read_many([*kinds[::-1], ValueKey(b"k")])] == [3, 2, 1, 0]


async def test_a_read_is_tried_again_until_its_deadline(node: FakeNode) -> None:
    node.state.failures = 3
    async with AsyncClient(node.target, retry=QUICK) as client:
        assert not (await client.get(b"absent")).found
        node.state.failures = 10**9
        with pytest.raises(Unavailable):
            await client.read_many([ValueKey(b"absent")])


@pytest.mark.parametrize(
    "key",
    [ValueKey(b""), ValueKey(b"k" * 1025), CounterKey(b""), AccountKey(-1), AccountKey(1 << 128), ValueKey(b"k", -1)],
)
async def test_keys_that_no_node_would_take_are_refused_before_they_are_sent(node: FakeNode, key: Key) -> None:
    async with AsyncClient(node.target) as client:
        with pytest.raises(InvalidOperation):
            await client.read(key)
        with pytest.raises(InvalidOperation, match="10000"):
            await client.read_many([ValueKey(b"k")] * 10_001)


async def test_status_asks_for_the_digest_only_where_wanted(node: FakeNode) -> None:
    async with AsyncClient(node.target) as client:
        assert (await client.status()).state_digest == 0
        assert (await client.status(with_state_digest=True)).state_digest == 1
