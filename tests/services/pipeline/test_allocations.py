"""In the steady state a node makes no Python object per transaction, few per block, and keeps none.

Measured on a whole node, but for gRPC itself: frames enter where the gRPC handler hands them over.
"""

import asyncio
import gc
import sys
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from services.node import Node
from services.settings.model import NodeSettings
from services.telemetry.counters import Counter
from tests.frames import frame, transfers
from tests.services.pipeline.harness.allocation_counter import AllocationCounter

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


class Call:
    """What the service asks of a call."""

    def invocation_metadata(self) -> tuple[()]:
        return ()

    async def abort(self, code: grpc.StatusCode, message: str, trailing_metadata: object) -> None:
        raise AssertionError(f"refused: {code} {message}")


class Load:
    """Sends prepared frames, so many at a time; one at a time, each makes a block of its own."""

    def __init__(self, node: Node, transactions: int, in_flight: int) -> None:
        self._submit = node._txqueue_service.submit_frame
        self._in_flight = in_flight
        self._messages = [
            frame(transfers(transactions, client_id=client_id)).SerializeToString()
            for client_id in range(transactions, transactions + FRAMES)
        ]

    async def run(self) -> None:
        """Send all frames once and wait for their receipts. Sent again, they are duplicates: the same way to go."""
        for first in range(0, FRAMES, self._in_flight):
            messages = self._messages[first : first + self._in_flight]
            await asyncio.gather(*(self._submit(message, Call()) for message in messages))  # type: ignore[arg-type]


@pytest.mark.alone
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
    assert 10 < per_block[10_000] < 600
    assert abs(per_block[10_000] - per_block[100]) < 100


@pytest.mark.alone
async def test_nothing_is_kept(node: Node) -> None:
    load = Load(node, 1000, in_flight=4)
    tracemalloc.start()
    try:
        kept = []
        for _ in range(4):
            before = sys.getallocatedblocks(), tracemalloc.get_traced_memory()[0]
            for _ in range(8):
                await load.run()
            gc.collect()
            kept.append((sys.getallocatedblocks() - before[0], tracemalloc.get_traced_memory()[0] - before[1]))
    finally:
        tracemalloc.stop()
    print(f"kept after {8 * FRAMES} frames each, pieces of memory and bytes:", kept)
    assert min(pieces for pieces, _ in kept) < 2 * FRAMES, "a node that kept one piece per block would show 8 * FRAMES"
    assert min(size for _, size in kept) < 32 << 10
