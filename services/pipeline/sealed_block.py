"""A sealed block on its way through the stages, in a pooled buffer that counts its holders."""

import threading
from dataclasses import dataclass, field
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from pooling.buffers import Buffer
from replication.log.block import Block


class BufferPool(Protocol):
    """What the pipeline needs of a pool: `pooling.core.object_pool.ObjectPool` in a node."""

    def borrow_object(self, timeout_s: float | None = None) -> Buffer:
        """Lend a buffer, waiting ``timeout_s`` for it at most.

        Raises:
            PoolExhausted: none came back in time.
        """

    def return_object(self, item: Buffer) -> None:
        """Take a buffer back."""


@dataclass(slots=True, eq=False)
class SealedBlock:
    """A sealed block, and the frames it was made of.

    Whoever makes it holds it, and handing it to another hands that hold over. Those who use it side by side, as
    replication and applying do, each `retain` it, and `release` it when done; the buffer goes back to its pool with the
    last of them. Both may be called by any thread.
    """

    block: Block
    buffer: Buffer
    """Page-aligned ``uint8[BLOCK_BYTES_MAX]``; the block's views lie in it and end with the last hold."""
    pool: BufferPool
    """Where the buffer came from."""
    frames: NDArray[np.uint64]
    """uint64[n, 4]: rows of (token, first record in the block, records, payload bytes)."""
    sealed_ns: int
    """When it was sealed, nanoseconds of Unix time."""
    durable_ns: int = 0
    """When it had become durable, nanoseconds of Unix time."""
    _holders: int = field(default=1, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def retain(self) -> Self:
        """Hold the block once more; only while it is held."""
        with self._lock:
            assert self._holders > 0, f"{self.block!r} was released by its last holder: its buffer is another block's"
            self._holders += 1
        return self

    def release(self) -> None:
        """Let go of the block once; the last release returns the buffer."""
        with self._lock:
            assert self._holders > 0, f"{self.block!r} is released more often than it was held"
            self._holders -= 1
            was_last = self._holders == 0
        if was_last:
            self.pool.return_object(self.buffer)
