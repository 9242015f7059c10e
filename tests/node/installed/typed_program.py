"""A program that uses every part of the client's face; it is only checked, never run."""

from collections.abc import AsyncIterator, Iterator

import grpc
import numpy as np
from grpc import aio

import penstock
from penstock.v1 import pooling_pb2, pooling_pb2_grpc, state_pb2, state_pb2_grpc, txqueue_pb2, txqueue_pb2_grpc


def traceparent() -> str:
    return ""


def blocking(credentials: grpc.ChannelCredentials) -> None:
    client = penstock.Client(
        "h:1",
        client_id=1,
        next_sequence=2,
        credentials=credentials,
        batch=penstock.BatchOptions(),
        flow=penstock.FlowOptions(frames_max=3),
        traceparent=traceparent,
    )
    records = np.zeros(10, penstock.RECORD)
    records["operation"] = penstock.Transfer.number
    records["amount"][2:] = 7
    receipt = client.submit_frame(records, memoryview(b""), stamp=False)
    words = np.zeros((10, 8), np.uint64)
    receipts = client.submit_records(words, bytearray())
    print(receipt.results[0], receipts[0].results.tolist())
    puts: list[penstock.Put] = [penstock.Put(b"", b"")]
    client.submit_chain(puts, first_sequence=3)
    client.submit_many(puts)
    operations: tuple[type[penstock.Operation], ...] = (penstock.Put,)
    blocks: Iterator[penstock.WatchedBlock] = client.watch(namespaces=range(3), operations=operations)
    for block in blocks:
        for i, record in enumerate(block.records):
            print(record["amount"], block.payload(i), block.results[i], block.positions[i])
        total = int(block.records["amount"].sum())
        print(total)
    try:
        client.submit(penstock.Append(b"x"), sequence=4)
    except penstock.OutcomeUnknown as error:
        print(error.client_id + error.first_sequence)
    except penstock.InvalidRequest as error:
        for field, text in error.violations:
            print(field + text)
    except penstock.Refused as error:
        print(error.reason, error.details.get("x"), error.code, error.retry_delay_s)
    status = client.status(with_state_digest=True)
    for phase in status.phases:
        print(phase.name.upper(), phase.achieved_tps + 1)


async def frames() -> AsyncIterator[txqueue_pb2.SubmitStreamRequest]:
    yield txqueue_pb2.SubmitStreamRequest(frame_id=1, records=b"")


async def coroutines() -> None:
    async with aio.insecure_channel("h:1") as channel:
        queue = txqueue_pb2_grpc.TxQueueServiceStub(channel)
        answer = await queue.Submit(txqueue_pb2.SubmitRequest(), timeout=1)
        print(answer.position + 1)
        async for receipt in queue.SubmitStream(frames()):
            print(receipt.first_position, receipt.error)
        async for block in state_pb2_grpc.StateServiceStub(channel).Watch(state_pb2.WatchRequest(from_index=1)):
            print(block.log_index)
        pool = pooling_pb2_grpc.PoolServiceStub(channel)
        print((await pool.GetPoolMetrics(pooling_pb2.GetPoolMetricsRequest())).pools)
