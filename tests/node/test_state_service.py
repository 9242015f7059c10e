"""Reads say which log index they reflect; watches give every committed transaction once, from any index."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from penstock.contract import flag, opcode, result_code
from penstock.v1 import state_pb2, state_pb2_grpc, txqueue_pb2, txqueue_pb2_grpc
from tests.frames import frame, rows, transfers
from tests.node.serve_process import ServeProcess


def account(number: int) -> bytes:
    return number.to_bytes(16, "little")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    directory: Path = tmp_path_factory.mktemp("node")
    with ServeProcess(directory) as node:
        yield node


@pytest.fixture
async def channel(running: ServeProcess) -> "grpc.aio.Channel":
    return grpc.aio.insecure_channel(running.target)


async def submit(channel: grpc.aio.Channel, **operation: object) -> txqueue_pb2.SubmitResponse:
    submit.sequence += 1  # type: ignore[attr-defined]
    transaction = txqueue_pb2.Transaction(client_id=77, sequence=submit.sequence, **operation)  # type: ignore[attr-defined, arg-type]
    return await txqueue_pb2_grpc.TxQueueServiceStub(channel).Submit(
        txqueue_pb2.SubmitRequest(transaction=transaction), timeout=10
    )


submit.sequence = 0  # type: ignore[attr-defined]


async def test_every_operation_spelled_out_reads_back_at_its_log_index(channel: grpc.aio.Channel) -> None:
    long_key = b"k" * 1024
    for operation in (
        {"put": txqueue_pb2.Put(key=b"name", value=b"penstock")},
        {"put": txqueue_pb2.Put(key=long_key, value=b"long")},
        {"add": txqueue_pb2.Add(key=b"visits", amount=-3)},
        {"open_account": txqueue_pb2.OpenAccount(account=account(1), overdraft=True)},
        {"open_account": txqueue_pb2.OpenAccount(account=account(2))},
        {"append": txqueue_pb2.Append(payload=b"hello")},
    ):
        assert (await submit(channel, **operation)).result == result_code.OK
    last = await submit(
        channel,
        transfer=txqueue_pb2.Transfer(debit_account=account(1), credit_account=account(2), amount=25),
    )
    assert last.result == result_code.OK
    keys = [
        state_pb2.Key(value=b"name"),
        state_pb2.Key(value=long_key),
        state_pb2.Key(counter=b"visits"),
        state_pb2.Key(account=account(1)),
        state_pb2.Key(account=account(2)),
        state_pb2.Key(value=b"absent"),
        state_pb2.Key(namespace=3, value=b"name"),
    ]
    answer = await state_pb2_grpc.StateServiceStub(channel).BatchRead(state_pb2.BatchReadRequest(keys=keys), timeout=10)
    assert answer.log_index >= last.log_index
    found = [(entry.found, entry.value, entry.amount, entry.overdraft) for entry in answer.entries]
    assert found == [
        (True, b"penstock", 0, False),
        (True, b"long", 0, False),
        (True, b"", -3, False),
        (True, b"", -25, True),
        (True, b"", 25, False),
        (False, b"", 0, False),
        (False, b"", 0, False),
    ]
    assert answer.entries[3].version == answer.entries[4].version == last.position + 1


async def test_compare_and_set_takes_the_version_that_a_read_gave(channel: grpc.aio.Channel) -> None:
    stub = state_pb2_grpc.StateServiceStub(channel)
    key = state_pb2.Key(value=b"cas")

    async def swap(value: bytes, expected: int) -> int:
        answer = await submit(channel, cas=txqueue_pb2.Cas(key=b"cas", value=value, expected_version=expected))
        return int(answer.result)

    assert await swap(b"first", expected=0) == result_code.OK
    assert await swap(b"again", expected=0) == result_code.VERSION_MISMATCH
    version = (await stub.Read(state_pb2.ReadRequest(key=key), timeout=10)).entry.version
    assert await swap(b"second", expected=version) == result_code.OK
    assert (await stub.Read(state_pb2.ReadRequest(key=key), timeout=10)).entry.value == b"second"


async def test_a_batch_of_reads_sees_one_moment_while_money_moves(channel: grpc.aio.Channel) -> None:
    """Transfers between two accounts are under way all the time; no read may see the money in between."""
    opened = rows(2, client_id=5, operation=opcode.OPEN_ACCOUNT, key_lo=[501, 502], flags=flag.OVERDRAFT)
    stub = txqueue_pb2_grpc.TxQueueServiceStub(channel)
    await stub.SubmitFrame(frame(opened), timeout=10)
    stop = asyncio.Event()

    async def move() -> None:
        sequence = 3
        while not stop.is_set():
            table = transfers(500, debit=501, credit=502, client_id=5, sequence=np.arange(sequence, sequence + 500))
            sequence += 500
            await stub.SubmitFrame(frame(table), timeout=10)

    moving = asyncio.create_task(move())
    keys = [state_pb2.Key(account=account(501)), state_pb2.Key(account=account(502))]
    indexes = []
    for _ in range(50):
        answer = await state_pb2_grpc.StateServiceStub(channel).BatchRead(
            state_pb2.BatchReadRequest(keys=keys), timeout=10
        )
        assert sum(entry.amount for entry in answer.entries) == 0
        indexes.append(answer.log_index)
    stop.set()
    await moving
    assert indexes == sorted(indexes)


async def test_a_watch_gives_each_transaction_once_from_any_index(channel: grpc.aio.Channel) -> None:
    stub = txqueue_pb2_grpc.TxQueueServiceStub(channel)
    table = rows(300, client_id=8, namespace=12, payload_length=3)
    first = await stub.SubmitFrame(frame(table[:100], b"abc" * 100), timeout=10)
    watch = state_pb2_grpc.StateServiceStub(channel).Watch(
        state_pb2.WatchRequest(from_index=first.log_index, namespaces=[12])
    )
    positions: list[int] = []
    logged = b""
    for start in (100, 200):
        await stub.SubmitFrame(frame(table[start : start + 100], b"abc" * 100), timeout=10)
    while len(positions) < 300:
        response = await asyncio.wait_for(watch.read(), 10)
        assert isinstance(response, state_pb2.WatchResponse)
        positions += np.frombuffer(response.positions, "<u8").tolist()
        logged += response.records
        assert response.payloads == b"abc" * (len(response.records) // 64)
        assert set(response.results) == {result_code.OK}
    assert logged == table.tobytes()
    assert positions == sorted(set(positions))
    watch.cancel()


async def test_a_watch_filters_operations_and_what_took_effect(channel: grpc.aio.Channel) -> None:
    stub = txqueue_pb2_grpc.TxQueueServiceStub(channel)
    table = rows(6, client_id=9, namespace=13)
    table["operation"][1::2] = opcode.OPEN_ACCOUNT
    table["key_lo"] = [0, 1, 0, 1, 0, 2]  # the second opening of account 1 is rejected
    first = await stub.SubmitFrame(frame(table), timeout=10)
    again = await stub.SubmitFrame(frame(table), timeout=10)
    assert {code & result_code.DUPLICATE for code in again.results} == {result_code.DUPLICATE}
    watch = state_pb2_grpc.StateServiceStub(channel).Watch(
        state_pb2.WatchRequest(
            from_index=first.log_index, namespaces=[13], operations=[opcode.OPEN_ACCOUNT], effective_only=True
        )
    )
    response = await asyncio.wait_for(watch.read(), 10)
    assert isinstance(response, state_pb2.WatchResponse)
    offsets = np.frombuffer(response.positions, "<u8") - np.uint64(first.first_position)
    assert offsets.tolist() == [1, 5]
    with pytest.raises(TimeoutError):  # the duplicates never come
        await asyncio.wait_for(watch.read(), 0.3)


@pytest.mark.parametrize(
    "key",
    [
        state_pb2.Key(),
        state_pb2.Key(value=b""),
        state_pb2.Key(counter=b"x" * 1025),
        state_pb2.Key(account=b"short"),
        state_pb2.Key(namespace=65_536, value=b"k"),
    ],
)
async def test_a_key_that_no_entry_can_have_is_refused(channel: grpc.aio.Channel, key: state_pb2.Key) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await state_pb2_grpc.StateServiceStub(channel).Read(state_pb2.ReadRequest(key=key), timeout=10)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
