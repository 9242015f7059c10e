"""submit_frame: a program's columns go out as they are, stamped, and come back as one receipt."""

import asyncio

import numpy as np
import pytest

from penstock.client.async_client import AsyncClient
from penstock.client.errors import ClientClosed, InvalidOperation
from penstock.client.options import FlowOptions
from penstock.contract.record import RECORD
from tests.penstock.client.fake_node import FakeNode
from tests.penstock.client.turns import turns


async def test_a_frame_arrives_stamped_and_byte_for_byte(node: FakeNode) -> None:
    records = np.zeros(3, RECORD)
    records["key_lo"] = [7, 8, 9]
    records["payload_length"] = [2, 0, 1]
    async with AsyncClient(node.target, client_id=5, next_sequence=1) as client:
        receipt = await client.submit_frame(records, b"abc")
    assert node.frames[0].records == records.tobytes()
    assert node.frames[0].payloads == b"abc"
    assert records["client_id"].tolist() == [5, 5, 5]
    assert records["sequence"].tolist() == [1, 2, 3]
    assert (receipt.log_index, receipt.first_position, receipt.results.tolist()) == (1, 0, [1, 1, 1])


async def test_without_stamp_the_callers_ids_stand_and_sending_again_is_a_duplicate(node: FakeNode) -> None:
    words = np.zeros((2, 8), np.uint64)
    words[:, 0], words[:, 1] = 77, [10, 11]
    async with AsyncClient(node.target) as client:
        first = await client.submit_frame(words, stamp=False)
        again = await client.submit_frame(words, stamp=False)
    assert first.results.tolist() == [1, 1]
    assert again.results.tolist() == [129, 129]


async def test_frames_sent_together_get_their_own_receipts(node: FakeNode) -> None:
    async with AsyncClient(node.target) as client:
        receipts = await asyncio.gather(*(client.submit_frame(np.zeros(n, RECORD)) for n in range(1, 51)))
    assert [len(receipt.results) for receipt in receipts] == list(range(1, 51))
    assert sorted(node.records["sequence"].tolist()) == list(range(1, 50 * 51 // 2 + 1))


async def test_no_more_travels_than_the_flow_options_allow(node: FakeNode) -> None:
    node.answering.clear()
    async with AsyncClient(node.target, flow=FlowOptions(frames_max=2, transactions_max=100)) as client:
        tasks = [asyncio.create_task(client.submit_frame(np.zeros(60, RECORD))) for _ in range(4)]
        await turns()
        assert client.in_flight == (1, 60)
        node.answering.set()
        await asyncio.gather(*tasks)
        assert client.in_flight == (0, 0)
    assert len(node.frames) == 4


@pytest.mark.parametrize("count", [0, 10_001])
async def test_a_frame_of_a_wrong_size_is_refused_before_it_is_sent(node: FakeNode, count: int) -> None:
    async with AsyncClient(node.target) as client:
        with pytest.raises(InvalidOperation, match="1 to 10000"):
            await client.submit_frame(np.zeros(count, RECORD))
    assert not node.frames


async def test_arrays_of_another_shape_are_refused(node: FakeNode) -> None:
    async with AsyncClient(node.target) as client:
        with pytest.raises(InvalidOperation, match="uint64"):
            await client.submit_frame(np.zeros((4, 7), np.uint64))
        with pytest.raises(InvalidOperation, match="contiguous"):
            await client.submit_frame(np.zeros(8, RECORD)[::2])


async def test_a_closed_client_says_so(node: FakeNode) -> None:
    client = AsyncClient(node.target)
    await client.close()
    with pytest.raises(ClientClosed):
        await client.submit_frame(np.zeros(1, RECORD))
