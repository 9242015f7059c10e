"""Node pools: the typed object pools of a node, as its settings size them."""

from typing import Any, Final

from numpy.typing import NDArray

from penstock.contract.record import RECORD, RECORD_BYTES
from pooling.buffers import ArrayFactory, Buffer, BufferFactory
from pooling.core.object_pool import ObjectPool
from pooling.core.pool_options import PoolOptions
from pooling.manager import ObjectPoolManager
from pooling.shared_buffers import SharedBuffer, SharedBufferFactory
from pooling.typed_pools import PoolKind
from replication.log.block import BLOCK_BYTES_MAX
from services.settings.memory_settings import PoolingSettings


class NodePools:
    """One pool manager and its typed pools."""

    def __init__(self, settings: PoolingSettings, *, idle_max: int | None = None) -> None:
        """Make the pools; ``idle_max`` bounds what each keeps ready (None: all of it, 0: every borrow makes anew)."""
        self.manager: Final = ObjectPoolManager(settings.bytes_max)
        self.transactions: Final[ObjectPool[NDArray[Any]]] = self.manager.create_pool(
            PoolKind.TRANSACTIONS,
            ArrayFactory(1, RECORD, per_allocation=settings.transactions),
            PoolOptions(max_total=settings.transactions, wait_s=0, idle_max=idle_max),
            object_bytes=RECORD_BYTES,
        )
        self.blocks: Final[ObjectPool[Buffer]] = self.manager.create_pool(
            PoolKind.BLOCKS,
            BufferFactory(BLOCK_BYTES_MAX),
            PoolOptions(max_total=settings.block_bytes_max // BLOCK_BYTES_MAX, idle_max=idle_max),
            object_bytes=BLOCK_BYTES_MAX,
        )
        # As many as the budget lets the pool be resized to.
        self._shared: Final = SharedBufferFactory(settings.bytes_max // settings.message_bytes, settings.message_bytes)
        self.messages: Final[ObjectPool[SharedBuffer]] = self.manager.create_pool(
            PoolKind.MESSAGES,
            self._shared,
            PoolOptions(max_total=settings.messages, idle_max=idle_max),
            object_bytes=settings.message_bytes,
        )
        if settings.preallocate:
            self.transactions.prepare(settings.transactions)
            self.blocks.prepare(self.blocks.max_total)

    def open_shared(self) -> None:
        """Set the memory of shared buffers up, which only nodes that lend some need; may take a second."""
        self._shared.open()

    def close(self) -> None:
        """Close all pools, and the memory of shared buffers."""
        self.manager.close()
        self._shared.close()
