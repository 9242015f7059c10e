"""A node killed at any moment under load loses no acknowledged transaction and applies none twice."""

import asyncio
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from loadtest.verify.log_metadata import first_bounds
from loadtest.verify.log_parser import read_blocks
from loadtest.verify.reference_model import ReferenceModel
from penstock.client.async_client import AsyncClient
from penstock.client.options import RetryOptions
from penstock.client.results import FrameReceipt
from penstock.contract import flag, opcode, record, result_code
from tests.frames import rows, transfers
from tests.node.serve_process import ServeProcess

ACCOUNTS = 50
CLIENTS = 3
SENDERS = 4  # of each client, each with one frame under way

Sent = tuple[int, bytes, FrameReceipt]  # client, records as sent, receipt


async def _open_accounts(client: AsyncClient) -> None:
    receipt = await client.submit_frame(
        rows(ACCOUNTS, operation=opcode.OPEN_ACCOUNT, key_lo=np.arange(ACCOUNTS), flags=flag.OVERDRAFT)
    )
    assert set(receipt.results) == {result_code.OK}


async def _send(client: AsyncClient, seed: int, sent: list[Sent], done: asyncio.Event) -> None:
    """Submit random frames until told to stop; keeps what was sent with what was answered."""
    choose = np.random.default_rng(seed)
    while not done.is_set():
        count = int(choose.integers(1, 400))
        table = transfers(
            count,
            debit=choose.integers(0, ACCOUNTS, count),  # type: ignore[arg-type]
            credit=choose.integers(0, ACCOUNTS, count),  # type: ignore[arg-type]
            amount=choose.integers(1, 100, count),  # type: ignore[arg-type]
        )
        receipt = await client.submit_frame(table)
        sent.append((client.client_id, table.tobytes(), receipt))


async def _load_and_kill(node: ServeProcess, kills: int, seed: int) -> list[Sent]:
    moments = random.Random(seed)
    sent: list[Sent] = []
    done = asyncio.Event()
    retry = RetryOptions(deadline_s=120, backoff_base_ms=5, backoff_cap_ms=50)
    clients = [AsyncClient(node.target, retry=retry) for _ in range(CLIENTS)]
    await _open_accounts(clients[0])
    async with asyncio.TaskGroup() as senders:
        for number in range(CLIENTS * SENDERS):
            senders.create_task(_send(clients[number % CLIENTS], seed + number, sent, done))
        for _ in range(kills):
            answered = len(sent)
            enough = answered + moments.randrange(5, 60)
            while len(sent) < enough:  # noqa: ASYNC110 - what is waited for is a number
                await asyncio.sleep(0.001)
            await asyncio.sleep(moments.random() * 0.05)
            await asyncio.to_thread(node.kill)
            await asyncio.to_thread(node.start)
        done.set()
    for client in clients:
        await client.close()
    return sent


def _check(node: ServeProcess, sent: list[Sent], effects_digest: int, state_digest: int) -> None:
    model = ReferenceModel(first_bounds(node.log_directory))
    log_records, log_results = bytearray(), bytearray()
    for block in read_blocks(node.log_directory):
        log_results += model.apply(bytes(block.records), bytes(block.payloads), block.first_position, block.time_ns)
        log_records += block.records
    # Every receipt is true of the log.
    for client_id, records, receipt in sent:
        first, count = receipt.first_position, len(receipt.results)
        logged = log_records[first * 64 : (first + count) * 64]
        assert logged == records, f"client {client_id:x}: the log has other transactions where the receipt points"
        assert log_results[first : first + count] == receipt.results.tobytes()
    # Every transaction took effect exactly once, however often it stands in the log.
    log = np.frombuffer(bytes(log_records), record.RECORD)
    fresh = np.frombuffer(bytes(log_results), np.uint8) < result_code.DUPLICATE
    times = Counter(zip(log["client_id"][fresh].tolist(), log["sequence"][fresh].tolist(), strict=True))
    assert set(times.values()) == {1}
    for _, records, _ in sent:
        table = np.frombuffer(records, record.RECORD)
        assert all(times[key] == 1 for key in zip(table["client_id"].tolist(), table["sequence"].tolist(), strict=True))
    assert model.money() == 0
    assert (model.effects_digest, model.state_digest()) == (effects_digest, state_digest)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
async def test_killed_at_any_moment_nothing_acknowledged_is_lost_and_nothing_applied_twice(
    tmp_path: Path, seed: int
) -> None:
    with ServeProcess(tmp_path) as node:
        sent = await _load_and_kill(node, kills=6, seed=seed)
        status = node.status(with_state_digest=True)
        assert node.stop() == 0
    assert len(sent) > 50
    _check(node, sent, status.effects_digest, status.state_digest)
