"""TxQueueService reads frames, has them admitted and writes their answers, one call or stream not hindering another."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
import pytest

from penstock.contract.frame_codec import FrameFields
from penstock.contract.reasons import Reason
from penstock.contract.record import RECORD
from penstock.v1 import record_pb2, txqueue_pb2, txqueue_pb2_grpc
from pooling.buffers import ArrayFactory
from pooling.core.object_pool import ObjectPool
from pooling.core.pool_options import PoolOptions
from services.admission.frame_validator import Publication
from services.pipeline.pending_frames import PendingFrames
from services.refusal import Refusal
from services.rpc.limits.arriving_messages import ArrivingMessages
from services.rpc.txqueue_service import TxQueueService
from services.settings.model import AdmissionSettings
from services.telemetry.counters import Counter
from tests.frames import frame, rows
from tests.services.admission.fakes import Bench, FakeValidator
from tests.services.rpc.in_process import reason_of, refused, retry_ms, serving

OK = bytes([record_pb2.RESULT_CODE_OK])
TRANSFER = txqueue_pb2.Transaction(
    client_id=1,
    sequence=1,
    transfer=txqueue_pb2.Transfer(debit_account=b"d" * 16, credit_account=b"c" * 16, amount=1),
)


class Pipeline(FakeValidator):
    """Publishes frames, and answers them by itself or when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.pending_frames: PendingFrames | None = None
        self.answers_at_once = True
        self.published = asyncio.Event()
        self._records: dict[int, int] = {}

    def publish(self, message: bytes, fields: FrameFields, token: int) -> Publication | Refusal:
        self.published.set()
        outcome = super().publish(message, fields, token)
        if outcome is Publication.PUBLISHED:
            self._records[token] = fields.records_length // 64
            if self.answers_at_once:
                self.answer()
        return outcome

    def answer(self) -> None:
        assert self.pending_frames is not None
        for token, count in self._records.items():
            row = np.array([[token, 0, count, 0]], np.uint64)
            self.pending_frames.complete(row, log_index=7, first_position=100, results=OK * count)
        self._records.clear()


@dataclass
class Served:
    bench: Bench
    pipeline: Pipeline
    service: TxQueueService
    stub: "txqueue_pb2_grpc.TxQueueServiceAsyncStub"


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    pipeline = Pipeline()
    bench = Bench(in_flight_frames_max=4, validator=pipeline)
    pipeline.pending_frames = bench.pending_frames
    transactions = ObjectPool(
        "transactions", ArrayFactory(1, RECORD, per_allocation=4), PoolOptions(max_total=4, wait_s=0)
    )
    settings = AdmissionSettings(stream_in_flight_frames_max=2, retry_after_ms=321)
    arriving = ArrivingMessages()
    service = TxQueueService(bench.admission, bench.pending_frames, bench.counters, settings, transactions, arriving)
    async with serving(tmp_path, service.handler()) as channel:
        yield Served(bench, pipeline, service, txqueue_pb2_grpc.TxQueueServiceStub(channel))


def stream_frames(*frame_ids: int) -> list[txqueue_pb2.SubmitStreamRequest]:
    return [txqueue_pb2.SubmitStreamRequest(frame_id=frame_id, records=rows(2).tobytes()) for frame_id in frame_ids]


async def read(call: Any) -> txqueue_pb2.SubmitStreamResponse:
    answer = await call.read()
    assert isinstance(answer, txqueue_pb2.SubmitStreamResponse)
    return answer


async def test_a_frame_gets_its_receipt(served: Served) -> None:
    receipt = await served.stub.SubmitFrame(frame(rows(3), frame_id=9))
    assert receipt == txqueue_pb2.SubmitFrameResponse(frame_id=9, log_index=7, first_position=100, results=OK * 3)
    assert served.bench.counters[Counter.FRAMES_RECEIVED] == 1
    assert served.bench.counters[Counter.BYTES_RECEIVED] > 3 * 64
    assert served.bench.counters[Counter.TRANSACTIONS_ANSWERED] == 3


async def test_a_spelled_out_transaction_gets_its_result(served: Served) -> None:
    response = await served.stub.Submit(txqueue_pb2.SubmitRequest(transaction=TRANSFER))
    assert response == txqueue_pb2.SubmitResponse(result=record_pb2.RESULT_CODE_OK, log_index=7, position=100)


async def test_a_call_that_would_have_to_wait_is_told_when_to_come_back(served: Served) -> None:
    served.pipeline.outcome = Publication.RING_FULL
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.stub.SubmitFrame(frame(rows(1)))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refused(caught.value) == (Reason.QUEUE_FULL, [])
    assert retry_ms(caught.value) == 321
    assert served.bench.counters[Counter.FRAMES_REFUSED_BUSY] == 1


async def test_calls_beyond_the_limit_in_flight_are_refused_and_those_before_are_answered(served: Served) -> None:
    served.pipeline.answers_at_once = False
    calls = [asyncio.ensure_future(served.stub.SubmitFrame(frame(rows(1), frame_id=i))) for i in range(5)]
    done, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_EXCEPTION)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await done.pop()
    assert refused(caught.value) == (Reason.IN_FLIGHT_LIMIT, [])
    served.pipeline.answer()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(outcome, txqueue_pb2.SubmitFrameResponse) for outcome in outcomes) == 4


async def test_an_invalid_frame_is_told_its_field(served: Served) -> None:
    served.pipeline.outcome = Refusal(Reason.CHAIN_OPEN, "record 0: an open chain", field="records[0].flags")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.stub.SubmitFrame(frame(rows(1)))
    assert caught.value.details() == "record 0: an open chain"
    assert refused(caught.value) == (Reason.CHAIN_OPEN, ["records[0].flags"])


async def test_a_spelled_out_transaction_is_told_its_own_fields(served: Served) -> None:
    served.pipeline.outcome = Refusal(Reason.AMOUNT_OUT_OF_RANGE, "record 0: at least 1", field="records[0].amount")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.stub.Submit(txqueue_pb2.SubmitRequest(transaction=TRANSFER))
    assert caught.value.details() == "at least 1"
    assert refused(caught.value) == (Reason.AMOUNT_OUT_OF_RANGE, ["transaction.amount"])


async def test_a_transaction_that_no_record_can_hold_is_refused_before_the_ring(served: Served) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await served.stub.Submit(txqueue_pb2.SubmitRequest(transaction=txqueue_pb2.Transaction(client_id=1)))
    assert refused(caught.value) == (Reason.UNKNOWN_OPERATION, ["transaction.operation"])
    assert served.bench.counters[Counter.FRAMES_REFUSED_INVALID] == 1
    assert served.pipeline.tokens == []


async def test_an_answer_to_a_caller_who_has_gone_is_dropped(served: Served) -> None:
    served.pipeline.answers_at_once = False
    call = served.stub.SubmitFrame(frame(rows(1)))
    await served.pipeline.published.wait()
    call.cancel()
    served.pipeline.answer()
    served.pipeline.answers_at_once = True
    assert (await served.stub.SubmitFrame(frame(rows(1), frame_id=2))).frame_id == 2


async def test_a_sampled_caller_is_remembered_for_the_trace(served: Served) -> None:
    served.pipeline.answers_at_once = False
    for traceparent, expected in ((f"00-{'a' * 32}-{'b' * 16}-01", 1), (f"00-{'a' * 32}-{'b' * 16}-00", 0)):
        served.pipeline.published.clear()
        call = served.stub.SubmitFrame(frame(rows(1)), metadata=(("other", "x"), ("traceparent", traceparent)))
        await served.pipeline.published.wait()
        token = served.pipeline.tokens[-1]
        found = served.bench.pending_frames.traceparents(np.array([[token, 0, 0, 0]], np.uint64))
        assert found == [traceparent] * expected
        served.pipeline.answer()
        await call


async def test_a_stream_s_frames_are_answered_in_order(served: Served) -> None:
    receipts = [receipt async for receipt in served.stub.SubmitStream(iter(stream_frames(1, 2, 3, 4, 5, 6)))]
    assert [receipt.frame_id for receipt in receipts] == [1, 2, 3, 4, 5, 6]
    assert all(receipt.results == OK * 2 and not receipt.HasField("error") for receipt in receipts)
    assert served.bench.counters[Counter.STREAMS_OPENED] == 1
    assert served.bench.counters[Counter.STREAMS_CLOSED] == 1


async def test_a_refused_frame_harms_no_other_of_its_stream(served: Served) -> None:
    call = served.stub.SubmitStream()
    answers = []
    for frame_id, outcome in (
        (1, Publication.PUBLISHED),
        (2, Refusal(Reason.SEQUENCE_INVALID, field="records[0].sequence")),
        (3, Publication.PUBLISHED),
    ):
        served.pipeline.outcome = outcome
        await call.write(stream_frames(frame_id)[0])
        answers.append(await read(call))
    await call.done_writing()
    assert [answer.frame_id for answer in answers] == [1, 2, 3]
    assert [answer.HasField("error") for answer in answers] == [False, True, False]
    assert reason_of(list(answers[1].error.details)) is Reason.SEQUENCE_INVALID
    assert await call.read() is grpc.aio.EOF


async def test_bytes_that_are_no_frame_are_refused_as_frame_0(served: Served, tmp_path: Path) -> None:
    async with grpc.aio.insecure_channel(f"unix:{tmp_path}/socket") as channel:
        stream: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
            "/penstock.v1.TxQueueService/SubmitStream"
        )
        (answer,) = [message async for message in stream(iter([b"\xff"]))]
    refusal = txqueue_pb2.SubmitStreamResponse.FromString(answer)
    assert refusal.frame_id == 0
    assert reason_of(list(refusal.error.details)) is Reason.FRAME_MALFORMED


async def test_a_stream_waits_for_room_instead_of_being_refused(served: Served) -> None:
    served.pipeline.outcome = Publication.RING_FULL
    call = served.stub.SubmitStream(iter(stream_frames(1)))
    await served.pipeline.published.wait()
    served.pipeline.outcome = Publication.PUBLISHED
    served.bench.pending_frames.wake()
    assert (await read(call)).frame_id == 1
    assert served.bench.counters[Counter.FRAMES_REFUSED_BUSY] == 0


async def test_a_stream_is_read_no_further_than_its_frames_in_flight(served: Served) -> None:
    served.pipeline.answers_at_once = False
    call = served.stub.SubmitStream(iter(stream_frames(1, 2, 3)))
    while len(served.pipeline.tokens) < 2:
        served.pipeline.published.clear()
        await served.pipeline.published.wait()
    served.pipeline.published.clear()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(served.pipeline.published.wait(), 0.05)
    served.pipeline.answer()
    await served.pipeline.published.wait()
    served.pipeline.answer()
    assert [receipt.frame_id async for receipt in call] == [1, 2, 3]


async def test_a_closing_node_answers_what_it_admitted_then_ends_its_streams(served: Served) -> None:
    served.pipeline.answers_at_once = False
    call = served.stub.SubmitStream()
    await call.write(stream_frames(1)[0])
    await served.pipeline.published.wait()
    served.service.close(Refusal(Reason.SHUTTING_DOWN))
    served.pipeline.answer()
    assert (await read(call)).frame_id == 1
    assert await call.read() is grpc.aio.EOF
    for attempt in (served.stub.SubmitFrame(frame(rows(1))), served.stub.SubmitStream().read()):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await attempt
        assert refused(caught.value) == (Reason.SHUTTING_DOWN, [])
    assert served.bench.counters[Counter.FRAMES_REFUSED_UNAVAILABLE] == 1


def broken(*_: object) -> Publication:
    raise RuntimeError("a mistake")


async def test_a_stream_on_which_the_node_makes_a_mistake_ends_with_a_reason(served: Served) -> None:
    served.pipeline.publish = broken  # type: ignore[method-assign, assignment]
    call = served.stub.SubmitStream()
    await call.write(txqueue_pb2.SubmitStreamRequest(records=rows(1).tobytes()))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asyncio.wait_for(call.read(), 10)
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert refused(caught.value)[0] is Reason.INTERNAL_ERROR
