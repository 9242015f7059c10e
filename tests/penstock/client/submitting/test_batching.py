"""Transactions submitted one by one travel together, each gets its own answer, and nobody waits in vain."""

import asyncio
import time

import pytest

from penstock.client.async_client import AsyncClient
from penstock.client.errors import ClientClosed, InvalidOperation
from penstock.client.operations import Append, OpenAccount, Put, Transfer
from penstock.client.options import BatchOptions, FlowOptions, RetryOptions
from penstock.client.results import Rejected, Result, ResultCode
from tests.penstock.client.fake_node import FakeNode
from tests.penstock.client.turns import turns, until

PATIENT = BatchOptions(linger_ms=60_000, eager_frames=1)


async def test_each_of_a_thousand_coroutines_gets_its_own_result_and_they_share_frames(node: FakeNode) -> None:
    async with AsyncClient(node.target, client_id=9, next_sequence=1) as client:
        results = await asyncio.gather(*(client.transfer(i + 1, i + 2, 1) for i in range(1000)))
    assert [result.position for result in results] == list(range(1000))
    assert all(result.ok and not result.duplicate for result in results)
    assert len(node.frames) < 10
    assert node.records["sequence"].tolist() == list(range(1, 1001))
    assert set(node.records["client_id"].tolist()) == {9}
    assert node.records["key_lo"].tolist() == list(range(1, 1001))


async def test_a_lone_transaction_does_not_linger(node: FakeNode) -> None:
    async with AsyncClient(node.target, batch=PATIENT) as client:
        started = time.monotonic()
        await client.submit(Append(b"alone"))
        await client.submit(Append(b"and again"))
    assert time.monotonic() - started < 10


async def test_while_a_frame_travels_transactions_gather_and_leave_with_its_answer(node: FakeNode) -> None:
    async with AsyncClient(node.target, batch=PATIENT) as client:
        node.answering.clear()
        first = asyncio.create_task(client.submit(OpenAccount(1)))
        await until(lambda: client.in_flight == (1, 1))
        rest = [asyncio.create_task(client.submit(OpenAccount(i))) for i in range(2, 10)]
        await turns()
        assert client.in_flight == (1, 1)
        node.answering.set()
        await asyncio.gather(first, *rest)
    assert [len(frame.records) // 64 for frame in node.frames] == [1, 8]


async def test_a_transaction_leaves_when_its_linger_is_over_though_nothing_was_answered(node: FakeNode) -> None:
    async with AsyncClient(node.target, batch=BatchOptions(linger_ms=5, eager_frames=1)) as client:
        node.answering.clear()
        tasks = [asyncio.create_task(client.submit(OpenAccount(1)))]
        await until(lambda: client.in_flight == (1, 1))
        tasks.append(asyncio.create_task(client.submit(OpenAccount(2))))
        await until(lambda: client.in_flight == (2, 2))
        node.answering.set()
        await asyncio.gather(*tasks)


async def test_a_full_frame_leaves_at_once(node: FakeNode) -> None:
    async with AsyncClient(node.target, batch=BatchOptions(size_max=10, linger_ms=60_000)) as client:
        await client.submit_many(Transfer(1, 2, 3) for _ in range(95))
    assert [len(frame.records) // 64 for frame in node.frames] == [10] * 9 + [5]


async def test_payloads_of_a_frame_stay_within_its_bound(node: FakeNode) -> None:
    values = [bytes([i]) * (1 << 20) for i in range(9)]
    async with AsyncClient(node.target) as client:
        await client.submit_many(Put(b"key", value) for value in values)
    assert [len(frame.payloads) >> 20 for frame in node.frames] == [4, 4, 1]
    assert b"".join(frame.payloads for frame in node.frames) == b"".join(values)


async def test_submitters_wait_when_as_much_travels_as_may(node: FakeNode) -> None:
    flow, batch = FlowOptions(frames_max=2, transactions_max=20), BatchOptions(size_max=10)
    async with AsyncClient(node.target, flow=flow, batch=batch) as client:
        node.answering.clear()
        tasks = [asyncio.create_task(client.transfer(i + 1, 7, 1)) for i in range(100)]
        await until(lambda: client.in_flight == (2, 20))
        await turns()
        assert client.in_flight == (2, 20)
        node.answering.set()
        results = await asyncio.gather(*tasks)
    assert sorted(result.position for result in results) == list(range(100))
    assert sorted(node.records["key_lo"].tolist()) == list(range(1, 101))


async def test_a_chain_stays_together_in_one_frame(node: FakeNode) -> None:
    async with AsyncClient(node.target, batch=BatchOptions(size_max=4)) as client:
        chain = [Put(b"a", b"1"), Append(b"22"), Transfer(1, 2, 3)]
        answers = await asyncio.gather(*(client.submit_chain(chain) for _ in range(5)), client.submit_chain(chain * 3))
    assert [len(answer) for answer in answers] == [3, 3, 3, 3, 3, 9]
    flags = [bytes(frame.records)[59::64] for frame in node.frames]
    assert sorted(flags) == sorted([b"\1\1\0"] * 5 + [b"\1" * 8 + b"\0"])
    assert {bytes(frame.payloads) for frame in node.frames} == {b"122", b"122" * 3}


async def test_cancelling_gives_up_the_answer_and_harms_no_neighbour(node: FakeNode) -> None:
    async with AsyncClient(node.target) as client:
        node.answering.clear()
        tasks = [asyncio.create_task(client.transfer(1, 2, 3)) for _ in range(3)]
        await until(lambda: client.in_flight == (1, 3))
        tasks[1].cancel()
        node.answering.set()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Result, asyncio.CancelledError, Result]
    assert len(node.records) == 3


async def test_closing_waits_for_what_was_taken_in_and_takes_no_more(node: FakeNode) -> None:
    client = AsyncClient(node.target, batch=BatchOptions(size_max=2), flow=FlowOptions(frames_max=1))
    tasks = [asyncio.create_task(client.transfer(1, 2, 3)) for _ in range(5)]
    await asyncio.sleep(0)
    await client.close()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [*[Result] * 4, ClientClosed]
    for submit in (client.transfer(1, 2, 3), client.submit(Append(b"")), client.submit(Append(b""), sequence=1)):
        with pytest.raises(ClientClosed):
            await submit


async def test_an_invalid_operation_is_refused_and_nothing_of_its_company_is_sent(node: FakeNode) -> None:
    async with AsyncClient(node.target) as client:
        with pytest.raises(InvalidOperation):
            await client.submit_many([Transfer(1, 2, 3), Transfer(1, 2, 0)])
        assert await client.submit_many([]) == []
    assert not node.frames


def test_a_rejection_is_a_result_and_an_error_only_where_asked_for() -> None:
    rejected = Result(ResultCode.INSUFFICIENT_FUNDS, False, 1, 5)
    assert not rejected.ok
    with pytest.raises(Rejected, match="5 was rejected: INSUFFICIENT_FUNDS"):
        rejected.raise_for_rejection()
    accepted = Result(ResultCode.OK, True, 1, 5)
    assert accepted.raise_for_rejection() is accepted


@pytest.mark.parametrize(
    "make",
    [
        lambda: BatchOptions(size_max=10_001),
        lambda: BatchOptions(size_max=0),
        lambda: BatchOptions(linger_ms=-1),
        lambda: FlowOptions(frames_max=0),
        lambda: FlowOptions(transactions_max=131_073),
        lambda: RetryOptions(deadline_s=0),
    ],
)
def test_options_out_of_range_are_refused(make) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidOperation):
        make()
