"""Block store: the blocks that a node has in memory, for the protocol knows only their headers.

The protocol's thread changes it; the threads that read and write the log look blocks up in it.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

import numpy as np

from pooling.buffers import aligned_buffer
from replication.consensus.interface.header import Header
from replication.log.block import NO_HASH, Block, padded
from replication.log.errors import BlockInvalid, BlockUnsupported

_OFFERED_MAX: Final = 1024
"""Blocks that came and that the protocol did not take: more than a window of them are of senders that it ignores."""
_KEPT: Final = 32
"""Blocks kept behind the last one that is written and applied, for followers that are a little behind."""


class BlockStore:
    """Blocks by hash while they are offered, by index once they are the log's."""

    def __init__(self) -> None:
        self._offered: OrderedDict[bytes, Block] = OrderedDict()
        self._chain: dict[int, Block] = {}
        self._kept_from = 0

    def offer(self, block: Block) -> None:
        """Keep a block that was sealed, came, or was read, until the protocol takes it or newer ones push it out."""
        self._offered[block.hash] = block
        if len(self._offered) > _OFFERED_MAX:
            self._offered.popitem(last=False)

    def take(self, headers: Iterable[Header]) -> list[Block]:
        """Return the blocks of these headers, which from now on are the log's."""
        blocks = [self._offered.pop(header.hash) for header in headers]
        self._chain.update((block.index, block) for block in blocks)
        return blocks

    def cut(self, after_index: int) -> None:
        """Forget that blocks behind ``after_index`` are the log's."""
        for index in [index for index in self._chain if index > after_index]:
            del self._chain[index]

    def find(self, index: int, block_hash: bytes) -> Block | None:
        """Return a block that is in memory."""
        block = self._chain.get(index)
        return block if block is not None and block.hash == block_hash else self._offered.get(block_hash)

    def of_log(self, index: int) -> Block | None:
        """Return the log's block of an index, where it is in memory."""
        return self._chain.get(index)

    def release(self, index: int) -> None:
        """Forget the log's blocks far behind ``index``, which are on the disk and applied."""
        for old in range(self._kept_from, index - _KEPT + 1):
            self._chain.pop(old, None)
        self._kept_from = max(self._kept_from, index - _KEPT + 1)


def header_of(block: Block) -> Header:
    """What the protocol sees of a block."""
    previous_hash = b"" if block.previous_hash == NO_HASH else block.previous_hash
    return Header(
        block.index,
        block.ballot,
        block.hash,
        previous_hash,
        block.next_position,
        block.time_ns,
        block.stored_bytes,
    )


def take_in(encoded: memoryview, cluster_id: int) -> Block:
    """Make a block out of what came from another node: in memory of its own, on whole pages, checked.

    Raises:
        BlockInvalid: it is damaged, another cluster's, or no block.
        BlockUnsupported: it needs what this program does not know.
    """
    buffer = aligned_buffer(padded(encoded.nbytes))
    buffer[: encoded.nbytes] = np.frombuffer(encoded, np.uint8)
    block = Block.parse(buffer)
    block.verify()
    if block.cluster_id != cluster_id:
        raise BlockInvalid(f"it is of cluster {block.cluster_id:016x}")
    return block


Damaged = (BlockInvalid, BlockUnsupported)
"""What `take_in` raises."""
