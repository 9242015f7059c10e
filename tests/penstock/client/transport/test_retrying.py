"""What breaks is sent again under the same ids, what cannot be known is called so, and what is bad harms no other."""

import asyncio
import time
from pathlib import Path
from random import Random

import grpc
import numpy as np
import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo

from penstock.client.async_client import AsyncClient
from penstock.client.errors import (
    Full,
    InvalidRequest,
    NotPermitted,
    NotSupported,
    OutcomeUnknown,
    Overloaded,
    Unavailable,
)
from penstock.client.operations import Append, OpenAccount, Put
from penstock.client.options import BatchOptions, RetryOptions
from penstock.contract.reasons import Reason
from penstock.contract.record import RECORD
from penstock.v1.txqueue_pb2 import FrameError, SubmitStreamRequest
from tests.penstock.client.fake_node import FakeNode
from tests.penstock.client.turns import until

pytestmark = pytest.mark.usefixtures("each_transport")

QUICK = RetryOptions(backoff_base_ms=1, backoff_cap_ms=20)
SHORT = RetryOptions(deadline_s=0.3, backoff_base_ms=1, backoff_cap_ms=20)


def frame_error(code: grpc.StatusCode, reason: str, *more: Message) -> FrameError:
    error = FrameError(code=code.value[0], message="refused on purpose")
    for detail in (ErrorInfo(reason=reason, domain="penstock"), *more):
        packed = Any()
        packed.Pack(detail)
        error.details.append(packed)
    return error


def overloaded(retry_delay_ms: int = 1) -> FrameError:
    delay = Duration()
    delay.FromMilliseconds(retry_delay_ms)
    return frame_error(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", RetryInfo(retry_delay=delay))


async def test_a_lost_answer_is_found_out_by_sending_the_same_ids_again(node: FakeNode) -> None:
    node.lose_answers = 1
    async with AsyncClient(node.target, retry=QUICK) as client:
        result = await client.submit(Append(b"once"))
    assert result.ok
    assert result.duplicate
    assert node.frames[0].records == node.frames[1].records
    assert node.streams == 2


async def test_every_frame_is_answered_through_a_restart_of_the_node(node: FakeNode) -> None:
    async with AsyncClient(node.target, retry=QUICK) as client:
        node.answering.clear()
        tasks = [asyncio.create_task(client.submit_frame(np.zeros(10, RECORD))) for _ in range(20)]
        await until(lambda: node.streams == 1)
        await node.stop()
        await asyncio.sleep(0.05)  # time for tries that meet no node
        node.answering.set()
        await node.start()
        receipts = await asyncio.gather(*tasks)
    assert {len(receipt.results) for receipt in receipts} == {10}
    assert sorted(set(node.records["sequence"].tolist())) == list(range(1, 201))


async def test_a_client_may_start_before_its_node(tmp_path: Path) -> None:
    node = FakeNode(tmp_path / "late.sock")
    async with AsyncClient(node.target, retry=QUICK) as client:
        task = asyncio.create_task(client.submit(OpenAccount(1)))
        await asyncio.sleep(0.1)  # time for tries that meet no node
        async with node:
            assert (await task).ok


async def test_push_back_is_honoured_and_the_order_kept(node: FakeNode) -> None:
    node.refusals.extend([overloaded(100), overloaded(1)])
    async with AsyncClient(node.target, retry=QUICK) as client:
        started = time.monotonic()
        await asyncio.gather(*(client.submit_frame(np.zeros(1, RECORD)) for _ in range(5)))
    assert time.monotonic() - started >= 0.1
    assert sorted(node.records["sequence"].tolist()) == [1, 2, 3, 4, 5]
    assert node.streams == 1


async def test_push_back_that_outlasts_the_deadline_says_that_nothing_took_effect(node: FakeNode) -> None:
    node.refusals.extend([overloaded(), overloaded()])
    node.refuse_where = lambda _: overloaded(60_000)  # so that no try is on its way at the deadline
    async with AsyncClient(node.target, retry=SHORT) as client:
        with pytest.raises(Overloaded) as caught:
            await client.submit(Append(b""))
    assert (caught.value.reason, caught.value.retry_delay_s) == ("QUEUE_FULL", 60.0)
    assert not node.refusals


async def test_a_node_that_is_full_for_good_is_not_tried_again(node: FakeNode) -> None:
    node.refusals.append(frame_error(grpc.StatusCode.RESOURCE_EXHAUSTED, "STATE_FULL"))
    async with AsyncClient(node.target) as client:
        with pytest.raises(Full):
            await client.submit(Append(b""))
        assert (await client.submit(Append(b""))).ok


async def test_no_answer_by_the_deadline_is_unknown_and_the_same_sequence_finds_out(node: FakeNode) -> None:
    async with AsyncClient(node.target, retry=SHORT) as client:
        node.answering.clear()
        outcomes = await asyncio.gather(*(client.submit(OpenAccount(i)) for i in range(3)), return_exceptions=True)
        node.answering.set()
        unknown = [outcome for outcome in outcomes if isinstance(outcome, OutcomeUnknown)]
        assert [(error.client_id, error.first_sequence, error.count) for error in unknown] == [
            (client.client_id, sequence, 1) for sequence in (1, 2, 3)
        ]
        result = await client.submit(OpenAccount(1), sequence=unknown[1].first_sequence, timeout=10)
    assert result.duplicate
    assert client.in_flight == (0, 0)


async def test_a_node_never_reached_is_unavailable_not_unknown(tmp_path: Path) -> None:
    async with AsyncClient(f"unix:{tmp_path}/nobody.sock", retry=SHORT) as client:
        with pytest.raises(Unavailable):
            await client.submit(Append(b""))


@pytest.mark.parametrize("reason", [reason.name for reason in Reason if not reason.outcome_known])
async def test_a_node_that_cannot_tell_leaves_the_outcome_unknown(node: FakeNode, reason: str) -> None:
    node.refuse_where = lambda _: frame_error(grpc.StatusCode.UNAVAILABLE, reason)
    async with AsyncClient(node.target, retry=SHORT) as client:
        with pytest.raises(OutcomeUnknown, match="refused on purpose"):
            await client.submit(Append(b""))


async def test_a_bad_transaction_fails_alone_and_its_neighbours_take_effect(node: FakeNode) -> None:
    not_allowed = frame_error(grpc.StatusCode.PERMISSION_DENIED, "NAMESPACE_NOT_ALLOWED")

    def refuse_bad(request: SubmitStreamRequest) -> FrameError | None:
        records = np.frombuffer(request.records, RECORD)
        assert len(request.payloads) == records["payload_length"].sum()
        return not_allowed if 9 in records["namespace"] else None

    node.refuse_where = refuse_bad
    chain = [Put(b"a", b"1", namespace=0), Put(b"b", b"22", namespace=9), Put(b"c", b"", namespace=0)]
    async with AsyncClient(node.target) as client:
        singles = [client.submit(Put(b"k", b"x" * i, namespace=9 if i in (3, 70) else 1)) for i in range(100)]
        outcomes = await asyncio.gather(
            *singles[:50], client.submit_chain(chain), *singles[50:], return_exceptions=True
        )
        assert client.in_flight == (0, 0)
    assert [i for i, outcome in enumerate(outcomes) if isinstance(outcome, NotPermitted)] == [3, 50, 71]
    assert len(node.records) == 98
    assert len(set(node.records["sequence"].tolist())) == 98


async def test_bad_input_names_the_field(node: FakeNode) -> None:
    violation = BadRequest.FieldViolation(field="records[0].amount", description="must be at least 1")
    bad = BadRequest(field_violations=[violation])
    node.refusals.append(frame_error(grpc.StatusCode.INVALID_ARGUMENT, "AMOUNT_OUT_OF_RANGE", bad))
    async with AsyncClient(node.target) as client:
        with pytest.raises(InvalidRequest, match="refused on purpose") as caught:
            await client.submit_frame(np.zeros(1, RECORD))
    assert caught.value.violations == (("records[0].amount", "must be at least 1"),)


async def test_a_server_that_knows_no_such_call_is_not_tried_again(tmp_path: Path) -> None:
    server = grpc.aio.server()
    server.add_insecure_port(f"unix:{tmp_path}/other.sock")
    await server.start()
    try:
        async with AsyncClient(f"unix:{tmp_path}/other.sock", batch=BatchOptions(size_max=5)) as client:
            outcomes = await asyncio.gather(*(client.submit(Append(b"")) for _ in range(20)), return_exceptions=True)
            with pytest.raises(NotSupported):
                await client.status()
    finally:
        await server.stop(None)
    assert {type(outcome) for outcome in outcomes} <= {NotSupported, OutcomeUnknown}


async def test_a_receipt_of_the_wrong_length_is_no_answer(node: FakeNode) -> None:
    node.garble_answers = 1
    async with AsyncClient(node.target, retry=QUICK) as client:
        result = await client.submit(Append(b""))
    assert result.duplicate


async def test_a_bulk_caller_that_gives_up_leaves_its_frame_counted_until_it_is_answered(node: FakeNode) -> None:
    async with AsyncClient(node.target) as client:
        node.answering.clear()
        task = asyncio.create_task(client.submit_frame(np.zeros(3, RECORD)))
        await until(lambda: client.in_flight == (1, 3))
        task.cancel()
        await asyncio.wait([task])
        assert client.in_flight == (1, 3)
        node.answering.set()
    assert client.in_flight == (0, 0)


@pytest.mark.parametrize("seed", range(3))
async def test_through_random_faults_every_transaction_takes_effect_once_and_is_answered(
    node: FakeNode, seed: int
) -> None:
    random = Random(seed)

    def fault(_: SubmitStreamRequest) -> FrameError | None:
        node.lose_answers = int(random.random() < 0.1)
        node.garble_answers = int(random.random() < 0.05)
        return overloaded() if random.random() < 0.2 else None

    node.refuse_where = fault
    async with AsyncClient(node.target, retry=QUICK, batch=BatchOptions(size_max=7, linger_ms=0.1)) as client:

        async def submit(i: int) -> None:
            for round_ in range(20):
                if random.random() < 0.2:
                    await asyncio.sleep(random.random() / 1e3)
                result = await client.submit(Append(b"", key=i, operand=round_))
                assert result.ok

        restart = asyncio.create_task(node.restart_every(0.03))
        await asyncio.gather(*(submit(i) for i in range(50)))
        restart.cancel()
        await asyncio.wait([restart])
        if not node.running:
            await node.start()
    first = {(row["sequence"], row["key_lo"], row["operand_lo"]) for row in node.records}
    assert len(first) == len({sequence for sequence, _, _ in first}) == 50 * 20
