"""Applier: the state of one run of a node, built from its log up to the commit index."""

from random import Random
from typing import Final

import numpy as np

from replication.log.block import Block
from statestore.session_bounds import SessionBounds
from statestore.state_machine import HASH_SEED_BITS, StateMachine

BOUNDS: Final = SessionBounds(capacity=64, horizon_ns=3_600_000_000_000, page_capacity=256)
BYTES_MAX: Final = 8 << 20
_KIND_COUNTER: Final = 2


class Applier:
    """A real state machine, small."""

    def __init__(self, rng: Random) -> None:
        self._state = StateMachine(
            bytes_max=BYTES_MAX, session_bounds=BOUNDS, hash_seed=rng.getrandbits(HASH_SEED_BITS)
        )

    @property
    def index(self) -> int:
        """The last block applied."""
        return self._state.applied_index

    @property
    def effects_digest(self) -> int:
        """Of all effects in their order."""
        return self._state.effects_digest

    def state_digest(self) -> int:
        """Of the whole state."""
        return self._state.state_digest()

    def apply(self, block: Block) -> list[int]:
        """Apply the next block; return a result per transaction."""
        results = np.empty(block.count, np.uint8)
        self._state.apply(block.body, block.count, 0, block.first_position, block.time_ns, block.index, results)
        return results.tolist()

    def counter(self, client: int) -> int:
        """Return a client's counter."""
        key = np.frombuffer(client.to_bytes(8, "little"), np.uint8)
        entries = self._state.read(
            np.array([_KIND_COUNTER], np.uint8), np.zeros(1, np.uint16), np.array([key.size], np.uint16), key
        )
        return int(entries.amounts[0])

    def close(self) -> None:
        """Give the memory back."""
        self._state.close()
