"""The commit stream: what a watcher gets of each block."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from penstock.contract.record import WORD_META
from penstock.contract.result_code import OK
from penstock.v1 import state_pb2
from replication.log.block import Block

_LITTLE_U64: Final = np.dtype("<u8")


class WatchFilter:
    """Which transactions a watcher wants; columns are compared at once, never one by one."""

    def __init__(self, request: state_pb2.WatchRequest) -> None:
        self._namespaces = np.array(request.namespaces, np.uint64)
        self._operations = np.array(request.operations, np.uint64)
        self._effective_only = request.effective_only

    def select(self, block: Block, results: bytes) -> state_pb2.WatchResponse | None:
        """Take what passes of a block whose ``results`` (one byte per record) are known; None where nothing does."""
        records = block.records
        codes = np.frombuffer(results, np.uint8)
        chosen = self._mask(records[:, WORD_META], codes)
        if not chosen.any():
            return None
        payloads = block.payloads
        if not chosen.all():
            lengths = records[:, WORD_META] >> np.uint64(32)
            payloads = payloads[np.repeat(chosen, lengths.astype(np.int64))]
            records, codes = records[chosen], codes[chosen]
        positions = np.flatnonzero(chosen).astype(_LITTLE_U64) + np.uint64(block.first_position)
        return state_pb2.WatchResponse(
            log_index=block.index,
            time_unix_nano=block.time_ns,
            positions=positions.tobytes(),
            records=records.tobytes(),
            payloads=payloads.tobytes(),
            results=codes.tobytes(),
        )

    def _mask(self, meta: NDArray[np.uint64], codes: NDArray[np.uint8]) -> NDArray[np.bool_]:
        chosen = np.ones(len(meta), np.bool_)
        if self._namespaces.size:
            chosen &= np.isin(meta & np.uint64(0xFFFF), self._namespaces)
        if self._operations.size:
            chosen &= np.isin((meta >> np.uint64(16)) & np.uint64(0xFF), self._operations)
        if self._effective_only:
            chosen &= codes == OK
        return chosen
