"""A block on its way through the stages, with what is needed to answer those who sent its frames."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pooling.buffers import Buffer
from replication.log.block import Block


@dataclass(slots=True)
class SealedBlock:
    """A sealed block in a pooled buffer, and the frames it was made of."""

    block: Block
    buffer: Buffer
    frames: NDArray[np.uint64]
    """uint64[n, 4]: rows of (token, first record in the block, records, payload bytes)."""
    sealed_ns: int
    """When it was sealed, nanoseconds of Unix time."""
    durable_ns: int = 0
    """When it had become durable."""
