"""Blocks of given records, one after the other, as a log would hold them."""

from typing import Any

import numpy as np

from replication.log.ballot import Ballot
from replication.log.block import HEADER_BYTES, NO_HASH, Block, stored_bytes
from replication.log.errors import LogRecycled


def chain(*tables: Any, payloads: dict[int, bytes] | None = None) -> list[Block]:
    """Seal one block of each table of records; ``payloads`` gives those of blocks, by their index."""
    blocks: list[Block] = []
    position, previous = 0, NO_HASH
    for index, table in enumerate(tables, start=1):
        payload = (payloads or {}).get(index, b"")
        buffer = np.zeros(stored_bytes(len(table), len(payload)), np.uint8)
        body = np.frombuffer(table.tobytes() + payload, np.uint8)
        buffer[HEADER_BYTES : HEADER_BYTES + body.size] = body
        block = Block.seal(
            buffer,
            cluster_id=1,
            ballot=Ballot(1, 0),
            index=index,
            first_position=position,
            count=len(table),
            payload_bytes=len(payload),
            time_ns=1_000 + index,
            previous_hash=previous,
            durable_index=index - 1,
        )
        blocks.append(block)
        position, previous = block.next_position, block.hash
    return blocks


class FakeLog:
    """Reads from blocks in memory; those before ``first_index`` are gone."""

    def __init__(self, blocks: list[Block], first_index: int = 1) -> None:
        self.blocks = blocks
        self.first_index = first_index
        self.reads: list[int] = []

    def read(self, index: int) -> Any:
        self.reads.append(index)
        if index < self.first_index:
            raise LogRecycled(index, self.first_index)
        return iter(self.blocks[index - 1 :])
