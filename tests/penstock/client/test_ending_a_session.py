"""A client that closes ends the session that nobody needs any longer, and closes in time whatever the node says."""

import time

import pytest

from penstock.client.async_client import AsyncClient
from penstock.client.errors import OutcomeUnknown
from penstock.client.operations import Append
from tests.penstock.client.fake_node import FakeNode

pytestmark = pytest.mark.usefixtures("each_transport")


async def test_a_session_of_a_drawn_id_is_ended_when_its_client_closes(node: FakeNode) -> None:
    async with AsyncClient(node.target) as client:
        await client.submit(Append(b""))
    assert node.ended == [client.client_id]


async def test_a_session_that_may_be_needed_again_is_not_ended(node: FakeNode) -> None:
    async with AsyncClient(node.target, client_id=5, next_sequence=1) as own:
        await own.submit(Append(b""))
    async with AsyncClient(node.target):
        pass  # it has sent nothing, so the node knows no session
    async with AsyncClient(node.target) as in_doubt:
        await in_doubt.submit(Append(b""))
        node.answering.clear()
        with pytest.raises(OutcomeUnknown):
            await in_doubt.submit(Append(b""), timeout=0.1)
        node.answering.set()
    assert node.ended == []


async def test_a_node_that_does_not_answer_the_end_of_a_session_delays_no_close_for_long(node: FakeNode) -> None:
    node.ends_sessions = False
    client = AsyncClient(node.target)
    await client.submit(Append(b""))
    began = time.monotonic()
    await client.close()
    assert node.ended == [client.client_id]
    assert time.monotonic() - began < 4
