"""In the steady state a node makes no Python object per transaction, few per block, and keeps none.

Measured on a whole node, but for gRPC itself: frames enter where the gRPC handler hands them over.
"""

import asyncio
import gc
import sys
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.counters import Counter
from services.errors import Refusal
from services.node import Node
from services.settings import NodeSettings
from tests.frames import frame, transfers
from tests.services.allocation_counter import AllocationCounter

FRAMES = 64


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    settings = NodeSettings.model_validate(
        {"node": {"data_dir": tmp_path / "data"}, "listen": {"addresses": [f"unix:{tmp_path}/node.sock"]}}
    )
    running = Node(settings)
    await running.start()
    yield running
    await running.stop()


class Load:
    """Sends prepared frames, so many at a time; one at a time, each makes a block of its own."""

    def __init__(self, node: Node, transactions: int, in_flight: int) -> None:
        self._service = node._txqueue_service
        self._in_flight = in_flight
        self._messages = [
            frame(transfers(transactions, client_id=client_id)).SerializeToString()
            for client_id in range(transactions, transactions + FRAMES)
        ]
        self.answered = 0
        self._waiting = asyncio.Event()

    def _deliver(self, _: int, outcome: bytes | Refusal) -> None:
        assert not isinstance(outcome, Refusal)
        self.answered += 1
        self._waiting.set()

    async def run(self) -> None:
        """Send all frames once and wait for their receipts. Sent again, they are duplicates: the same way to go."""
        before = self.answered
        for sent, message in enumerate(self._messages):
            while sent - (self.answered - before) >= self._in_flight:
                await self._progress()
            assert self._service._admit(message, self._deliver, "")
        while self.answered - before < FRAMES:
            await self._progress()

    async def _progress(self) -> None:
        self._waiting.clear()
        await self._waiting.wait()


async def test_objects_per_block_are_few_and_as_many_for_10_000_transactions_as_for_100(node: Node) -> None:
    counter = AllocationCounter()
    per_block = {}
    for transactions in (100, 10_000):
        load = Load(node, transactions, in_flight=1)
        await load.run()
        blocks_before = node._counters[Counter.BLOCKS_APPLIED]
        with counter.counting() as counts:
            await load.run()
            made = int(counts[0])
        assert node._counters[Counter.BLOCKS_APPLIED] - blocks_before == FRAMES
        per_block[transactions] = made / FRAMES
    print("objects per block, by its transactions:", per_block)
    assert 10 < per_block[10_000] < 500
    assert abs(per_block[10_000] - per_block[100]) < 100


async def test_nothing_is_kept(node: Node) -> None:
    load = Load(node, 1000, in_flight=4)
    for _ in range(3):
        await load.run()
    gc.collect()
    tracemalloc.start()
    try:
        before = sys.getallocatedblocks(), tracemalloc.get_traced_memory()[0]
        for _ in range(10):
            await load.run()
        gc.collect()
        kept = sys.getallocatedblocks() - before[0], tracemalloc.get_traced_memory()[0] - before[1]
    finally:
        tracemalloc.stop()
    print("kept after 640 frames, blocks of memory and bytes:", kept)
    assert kept[0] < 5 * FRAMES
    assert kept[1] < 64 << 10
