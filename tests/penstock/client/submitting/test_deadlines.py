"""Every call ends by its deadline, wherever it waits, and its outcome can be learnt afterwards."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from penstock.client.async_client import AsyncClient
from penstock.client.errors import ClientClosed, OutcomeUnknown, PenstockError, Unavailable
from penstock.client.keys import ValueKey
from penstock.client.operations import Append, OpenAccount, Put
from penstock.client.options import BatchOptions, FlowOptions, RetryOptions
from penstock.contract.record import RECORD
from tests.penstock.client.fake_node import FakeNode
from tests.penstock.client.turns import turns, until

pytestmark = pytest.mark.usefixtures("each_transport")

NARROW = FlowOptions(frames_max=1)
SHORT_S = 0.2
LONG_S = 5.0


@contextmanager
def within(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


async def outcome_of(call: Awaitable[Any]) -> Any:
    try:
        return await call
    except PenstockError as error:
        return error


CALLS: dict[str, Callable[[AsyncClient, float | None], Awaitable[Any]]] = {
    "transfer": lambda client, timeout: client.transfer(1, 2, 3, timeout=timeout),
    "submit": lambda client, timeout: client.submit(Append(b""), timeout=timeout),
    "submit again": lambda client, timeout: client.submit(Append(b""), sequence=900, timeout=timeout),
    "chain": lambda client, timeout: client.submit_chain([Append(b"")] * 2, timeout=timeout),
    "many": lambda client, timeout: client.submit_many([Append(b"")] * 7, timeout=timeout),
    "frame": lambda client, timeout: client.submit_frame(np.zeros(2, RECORD), timeout=timeout),
    "records": lambda client, timeout: client.submit_records(np.zeros(20_000, RECORD), timeout=timeout),
}
READS: dict[str, Callable[[AsyncClient, float | None], Awaitable[Any]]] = {
    "get": lambda client, timeout: client.get(b"k", timeout=timeout),
    "get_counter": lambda client, timeout: client.get_counter(b"k", timeout=timeout),
    "get_account": lambda client, timeout: client.get_account(1, timeout=timeout),
    "read_many": lambda client, timeout: client.read_many([ValueKey(b"k")], timeout=timeout),
    "status": lambda client, timeout: client.status(timeout=timeout),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("by", ["timeout", "deadline_s"])
async def test_what_waits_for_a_place_ends_by_its_deadline_and_was_not_sent(
    node: FakeNode, call: Callable[[AsyncClient, float | None], Awaitable[Any]], by: str
) -> None:
    retry = RetryOptions(deadline_s=SHORT_S if by == "deadline_s" else 60)
    client = AsyncClient(node.target, flow=NARROW, batch=BatchOptions(size_max=3), retry=retry)
    node.answering.clear()
    ahead = asyncio.create_task(outcome_of(client.submit_frame(np.zeros(1, RECORD), timeout=60)))
    await until(lambda: client.in_flight == (1, 1))
    with within(LONG_S):
        assert isinstance(await outcome_of(call(client, SHORT_S if by == "timeout" else None)), Unavailable)
    node.answering.set()
    assert not isinstance(await ahead, Exception)
    await client.close()
    assert len(node.records) == 1


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_what_is_on_the_wire_ends_by_its_timeout_with_the_key_to_ask_again(
    node: FakeNode, call: Callable[[AsyncClient, float | None], Awaitable[Any]]
) -> None:
    async with AsyncClient(node.target) as client:
        await client.submit(Append(b""))
        node.answering.clear()
        with within(LONG_S):
            unknown = await outcome_of(call(client, SHORT_S))
        assert isinstance(unknown, OutcomeUnknown)
        assert unknown.client_id == client.client_id
        node.answering.set()
        assert (await client.submit(Append(b""), sequence=unknown.first_sequence)).duplicate
    assert client.in_flight == (0, 0)


@pytest.mark.parametrize("call", READS.values(), ids=READS)
async def test_a_read_ends_by_its_timeout(
    tmp_path: Path, call: Callable[[AsyncClient, float | None], Awaitable[Any]]
) -> None:
    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    server = await asyncio.start_unix_server(silent, tmp_path / "silent.sock")
    async with server, AsyncClient(f"unix:{tmp_path}/silent.sock") as client:
        with within(LONG_S):
            assert isinstance(await outcome_of(call(client, SHORT_S)), Unavailable)


async def test_a_node_never_reached_is_unavailable_after_the_timeout_too(tmp_path: Path) -> None:
    async with AsyncClient(f"unix:{tmp_path}/nobody.sock") as client:
        with within(LONG_S):
            assert isinstance(await outcome_of(client.submit(Append(b""), timeout=SHORT_S)), Unavailable)
            assert isinstance(await outcome_of(client.submit_frame(np.zeros(1, RECORD), timeout=SHORT_S)), Unavailable)
        assert client.in_flight == (0, 0), "what cannot be sent in time is not kept"


async def test_a_timeout_may_be_longer_than_the_deadline_and_its_company_keeps_the_usual(node: FakeNode) -> None:
    async with AsyncClient(node.target, retry=RetryOptions(deadline_s=SHORT_S)) as client:
        node.answering.clear()
        patient = asyncio.create_task(client.submit(Append(b"patient"), timeout=60))
        usual = asyncio.create_task(outcome_of(client.submit(Append(b"usual"))))
        assert isinstance(await usual, OutcomeUnknown)
        node.answering.set()
        assert (await patient).ok


async def test_neighbours_of_a_call_that_gave_up_are_answered(node: FakeNode) -> None:
    async with AsyncClient(node.target) as client:
        node.answering.clear()
        calls = [
            asyncio.create_task(outcome_of(client.submit(OpenAccount(i), timeout=SHORT_S if i % 2 else None)))
            for i in range(10)
        ]
        await asyncio.wait(calls[1::2])
        node.answering.set()
        outcomes = await asyncio.gather(*calls)
    assert [type(outcome) is OutcomeUnknown for outcome in outcomes] == [i % 2 == 1 for i in range(10)]
    assert [error.first_sequence for error in outcomes[1::2]] == [2, 4, 6, 8, 10]
    assert len(node.records) == 10


async def test_what_is_withdrawn_leaves_its_neighbours_and_their_payloads_whole(node: FakeNode) -> None:
    async with AsyncClient(node.target, flow=NARROW) as client:
        node.answering.clear()
        first = asyncio.create_task(client.submit(Append(b"first")))
        await until(lambda: client.in_flight == (1, 1))
        puts = [
            asyncio.create_task(
                outcome_of(client.submit(Put(b"k", bytes([i]) * i), timeout=SHORT_S if i % 3 else None))
            )
            for i in range(9)
        ]
        chain = asyncio.create_task(outcome_of(client.submit_chain([Append(b"a"), Append(b"b")], timeout=SHORT_S)))
        await turns()
        started = await client.start(Put(b"k", b"started"))
        await asyncio.wait([*(put for i, put in enumerate(puts) if i % 3), chain])
        node.answering.set()
        assert (await first).ok
        assert (await started).ok
        assert all([(await puts[i]).ok for i in (0, 3, 6)])
    assert isinstance(chain.result(), Unavailable)
    assert [frame.payloads for frame in node.frames] == [b"first", b"\3" * 3 + b"\6" * 6 + b"started"]
    assert node.records["sequence"].tolist()[-1] == started.key.sequence


async def test_a_key_is_known_before_the_answer_and_outlives_a_wait(node: FakeNode) -> None:
    async with AsyncClient(node.target) as client:
        node.answering.clear()
        submissions = [await client.start(OpenAccount(i)) for i in range(3)]
        await asyncio.sleep(0)
        keys = [submission.key for submission in submissions]
        assert keys == [(client.client_id, sequence) for sequence in (1, 2, 3)]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(submissions[1], 0.01)
        assert not submissions[1].done()
        node.answering.set()
        assert [(await submission).ok for submission in submissions] == [True] * 3
        assert (await client.submit(OpenAccount(1), sequence=keys[1].sequence)).duplicate
    assert node.records["sequence"].tolist()[:3] == [1, 2, 3]


@pytest.mark.parametrize("size_max", [1, 2, 10])
async def test_keys_are_those_that_are_sent_whatever_else_takes_sequences_meanwhile(
    node: FakeNode, size_max: int
) -> None:
    async with AsyncClient(node.target, batch=BatchOptions(size_max=size_max)) as client:
        keys = {}
        for i in range(20):
            submission = await client.start(OpenAccount(i + 1))
            keys[i + 1] = submission.key.sequence
            if i % 3 == 0:
                await client.submit_frame(np.zeros(2, RECORD))
            others = [asyncio.create_task(client.transfer(100, 7, 1)) for _ in range(i % 4)]
        await asyncio.gather(*others)
    sent = {int(row["key_lo"]): int(row["sequence"]) for row in node.records if row["operation"] == 7}
    assert sent == keys
    assert len(set(node.records["sequence"].tolist())) == len(node.records)


async def test_a_program_may_bring_its_own_sequence_and_learn_the_outcome_after_a_wait_was_cut(node: FakeNode) -> None:
    async with AsyncClient(node.target, client_id=5, next_sequence=100) as client:
        node.answering.clear()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.submit(Append(b""), sequence=7), SHORT_S)
        node.answering.set()
        assert (await client.submit(Append(b""), sequence=7)).duplicate


async def test_closing_ends_by_its_deadline_and_tells_what_is_known(node: FakeNode) -> None:
    client = AsyncClient(node.target, flow=NARROW, batch=BatchOptions(size_max=1))
    node.answering.clear()
    sent, gathered, waiting = (asyncio.create_task(outcome_of(client.submit(OpenAccount(i)))) for i in range(3))
    await until(lambda: client.in_flight == (1, 1))
    await turns()
    with within(LONG_S):
        await client.close(timeout=SHORT_S)
    assert [type(await call) for call in (sent, gathered, waiting)] == [OutcomeUnknown, ClientClosed, ClientClosed]
    node.answering.set()


async def test_a_close_that_is_cancelled_leaves_nobody_waiting(node: FakeNode) -> None:
    client = AsyncClient(node.target)
    node.answering.clear()
    sent = asyncio.create_task(outcome_of(client.submit(OpenAccount(1))))
    await until(lambda: client.in_flight == (1, 1))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.close(), SHORT_S)
    assert isinstance(await asyncio.wait_for(sent, LONG_S), OutcomeUnknown)
    node.answering.set()
