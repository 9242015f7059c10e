"""A caller's fault, or a caller that goes away, is nobody else's: all others are answered, with what they asked for."""

import asyncio
from array import array
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest

from penstock.client.async_client import AsyncClient
from penstock.client.errors import InvalidOperation, NotPermitted
from penstock.client.operations import Append, OpenAccount, Put, Transfer
from penstock.client.options import BatchOptions, FlowOptions
from penstock.client.results import Result
from penstock.client.transport.flow_window import FlowWindow
from penstock.contract.record import RECORD
from penstock.v1.txqueue_pb2 import FrameError, SubmitStreamRequest
from tests.penstock.client.fake_node import FakeNode
from tests.penstock.client.transport.test_retrying import frame_error
from tests.penstock.client.turns import turns, until


def values(node: FakeNode) -> list[bytes]:
    """The payloads of all records that the node took, as their lengths cut them."""
    found = []
    for frame in node.frames:
        ends = np.cumsum(np.frombuffer(frame.records, RECORD)["payload_length"], dtype=np.int64)
        found += [frame.payloads[end - n : end] for end, n in zip(ends, np.diff(ends, prepend=0), strict=True)]
    return found


async def test_a_text_in_place_of_bytes_fails_its_own_caller_alone(node: FakeNode) -> None:
    async with AsyncClient(node.target) as client:
        calls = [client.transfer(1, 2, 3) for _ in range(6)]
        calls.insert(3, client.submit(Put(b"k", "text")))  # type: ignore[arg-type]
        outcomes = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 10)
        assert (await asyncio.wait_for(client.transfer(1, 2, 3), 10)).ok
    assert isinstance(outcomes.pop(3), InvalidOperation)
    assert all(outcome.ok for outcome in outcomes)  # type: ignore[union-attr]


async def test_every_value_is_stored_as_given_whatever_its_neighbours_are_made_of(node: FakeNode) -> None:
    vector, matrix = memoryview(array("I", [1, 2, 3])), np.arange(6, dtype=np.uint16).reshape(2, 3)
    puts: list[Put] = [
        Put(b"vector", vector),
        Put(b"name", b"Bob"),
        Put(b"matrix", matrix),  # type: ignore[arg-type]
        Put(b"city", b"Ulm"),
        Put(b"last", b"end"),
    ]
    async with AsyncClient(node.target) as client:
        await client.submit_many(puts)
    assert values(node) == [vector.tobytes(), b"Bob", matrix.tobytes(), b"Ulm", b"end"]


async def test_after_a_refusal_every_other_value_is_stored_as_given(node: FakeNode) -> None:
    def refuse(request: SubmitStreamRequest) -> FrameError | None:
        not_allowed = 9 in np.frombuffer(request.records, RECORD)["namespace"]
        return frame_error(grpc.StatusCode.PERMISSION_DENIED, "NAMESPACE_NOT_ALLOWED") if not_allowed else None

    node.refuse_where = refuse
    puts = [Put(b"k", memoryview(array("I", [i] * (i % 5))), namespace=9 if i in (3, 70) else 1) for i in range(100)]
    async with AsyncClient(node.target) as client:
        calls = [client.submit(put) for put in puts]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [i for i, outcome in enumerate(outcomes) if isinstance(outcome, NotPermitted)] == [3, 70]
    kept = [bytes(memoryview(put.value).tobytes()) for i, put in enumerate(puts) if i not in (3, 70)]
    order = np.argsort(node.records["sequence"], kind="stable")
    taken = values(node)
    assert [taken[i] for i in order] == kept


@pytest.mark.parametrize("text", [None, 5, "\ud800", "x" * 10_000, ValueError("tracing is down")], ids=repr)
async def test_a_broken_trace_context_costs_no_transaction(
    node: FakeNode, text: object, caplog: pytest.LogCaptureFixture
) -> None:
    def traceparent() -> str:
        if isinstance(text, Exception):
            raise text
        return text  # type: ignore[return-value]

    async with AsyncClient(node.target, traceparent=traceparent) as client:
        results = await asyncio.wait_for(asyncio.gather(*(client.transfer(1, 2, 3) for _ in range(6))), 10)
        assert all(result.ok for result in results)
        for _ in range(2):
            await asyncio.wait_for(client.submit_frame(np.zeros(1, RECORD)), 10)
        assert (await client.submit(Append(b""), sequence=100)).ok
        assert client.in_flight == (0, 0)
    assert [frame.traceparent for frame in node.frames] == [""] * 4
    assert caplog.text.count("traceparent") >= 1
    assert len(caplog.records) == 1


FRAMES: list[tuple[str, Callable[[Any], Any]]] = [
    ("records", lambda client: client.submit_frame([1, 2])),
    ("records", lambda client: client.submit_frame(np.zeros(4))),
    ("records", lambda client: client.submit_records(None)),
    ("records", lambda client: client.submit_frame(np.frombuffer(bytes(64), RECORD))),
    ("payloads", lambda client: client.submit_frame(np.zeros(1, RECORD), "text")),
    ("payloads", lambda client: client.submit_records(np.zeros(1, RECORD), b"more than the records say")),
    ("stamp", lambda client: client.submit_frame(np.zeros(1, RECORD), stamp="no")),
    ("sequence", lambda client: client.submit(Append(b""), sequence=-1)),
    ("sequence", lambda client: client.submit(Append(b""), sequence=(1 << 64) - 1)),
    ("sequence", lambda client: client.start(Append(b""), sequence="1")),
    ("first_sequence", lambda client: client.submit_chain([Append(b"")] * 2, first_sequence=(1 << 64) - 2)),
    ("operation", lambda client: client.submit("ab")),
    ("operation", lambda client: client.submit_many([Append(b""), "ab"])),
    ("operations", lambda client: client.submit_many(5)),
    ("timeout", lambda client: client.transfer(1, 2, 3, timeout=0)),
    ("timeout", lambda client: client.submit(Append(b""), timeout="1")),
    ("timeout", lambda client: client.submit_frame(np.zeros(1, RECORD), timeout=float("nan"))),
    ("timeout", lambda client: client.get(b"k", timeout=True)),
    ("key", lambda client: client.get("k")),
    ("key", lambda client: client.read(b"k")),
    ("keys", lambda client: client.read_many(5)),
    ("account", lambda client: client.get_account("1")),
    ("with_state_digest", lambda client: client.status(with_state_digest="yes")),
]


@pytest.mark.parametrize(("name", "call"), FRAMES, ids=[f"{i}-{each[0]}" for i, each in enumerate(FRAMES)])
async def test_a_call_with_a_wrong_argument_is_refused_by_its_name_and_leaves_no_trace(
    node: FakeNode, name: str, call: Callable[[Any], Any]
) -> None:
    async with AsyncClient(node.target, flow=FlowOptions(frames_max=1)) as client:
        with pytest.raises(InvalidOperation, match=rf"^{name} "):
            await call(client)
        assert client.in_flight == (0, 0)
        assert not node.frames
        assert (await asyncio.wait_for(client.transfer(1, 2, 3), 10)).ok


async def test_sequences_beyond_two_to_the_63_are_written_as_they_are(node: FakeNode) -> None:
    async with AsyncClient(node.target) as client:
        await client.submit_chain([Append(b"")] * 3, first_sequence=(1 << 64) - 4)
    assert node.records["sequence"].tolist() == [(1 << 64) - 4, (1 << 64) - 3, (1 << 64) - 2]


@pytest.mark.parametrize("size_max", [1, 3])
async def test_a_submitter_cancelled_when_it_is_let_in_passes_its_place_on(node: FakeNode, size_max: int) -> None:
    batch, flow = BatchOptions(size_max=size_max), FlowOptions(frames_max=1)
    async with AsyncClient(node.target, batch=batch, flow=flow) as client:
        node.answering.clear()

        async def first() -> Result:
            result = await client.submit(OpenAccount(1))
            calls[2 * size_max].cancel()  # it was let in by the same answer, and has not run since
            return result

        calls = [asyncio.create_task(first())]
        calls += [asyncio.create_task(client.submit(OpenAccount(i))) for i in range(1, 6 * size_max)]
        await until(lambda: client.in_flight == (1, size_max))
        await turns()
        node.answering.set()
        outcomes = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 10)
    cancelled = [outcome for outcome in outcomes if isinstance(outcome, asyncio.CancelledError)]
    assert len(cancelled) == 1
    assert len(node.records) == 6 * size_max - 1


async def test_who_needs_less_is_let_in_when_those_ahead_go_away() -> None:
    window = FlowWindow(FlowOptions(transactions_max=10))
    await window.wait_and_enter(8)
    large = asyncio.create_task(window.wait_and_enter(5))
    small = asyncio.create_task(window.wait_and_enter(1))
    await turns()
    large.cancel()
    await asyncio.wait_for(small, 5)
    assert (window.frames, window.transactions) == (2, 9)


async def test_transfers_of_a_cancelled_company_are_answered_to_the_others(node: FakeNode) -> None:
    async with AsyncClient(node.target, batch=BatchOptions(size_max=4)) as client:
        calls = [asyncio.create_task(client.submit(Transfer(1, 2, 3))) for _ in range(40)]
        await asyncio.sleep(0)
        for call in calls[::3]:
            call.cancel()
        outcomes = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 10)
    assert sum(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes) == 14
