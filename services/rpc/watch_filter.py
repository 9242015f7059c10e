"""Watch filter: selects the transactions of a block that a watcher asked for."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from penstock.contract import opcode
from penstock.contract.reasons import Reason
from penstock.contract.record import WORD_META
from penstock.contract.result_code import OK
from penstock.v1 import state_pb2
from replication.log.block import Block
from services.admission.namespaces import NAMESPACES, NamespaceSet
from services.refusal import Refusal

_LITTLE_U64: Final = np.dtype("<u8")


def refusal_of(request: state_pb2.WatchRequest, namespaces: NamespaceSet) -> Refusal | None:
    """Say what is wrong with a request to watch; None where nothing is."""
    for number, namespace in enumerate(request.namespaces):
        refusal = namespaces.refuse(namespace, f"namespaces[{number}]")
        if refusal is not None:
            return refusal
    for number, operation in enumerate(request.operations):
        if not opcode.APPEND <= operation <= opcode.END_SESSION:
            return Refusal(Reason.UNKNOWN_OPERATION, field=f"operations[{number}]")
    return None


class WatchFilter:
    """Selects by namespace, operation and result; columns are compared as a whole, not row by row."""

    def __init__(self, request: state_pb2.WatchRequest, namespaces: NamespaceSet) -> None:
        """Select what ``request`` asks for, which `refusal_of` has passed, out of the admitted ``namespaces``."""
        self._namespaces = namespaces.admitted
        if request.namespaces:
            self._namespaces = np.zeros(NAMESPACES, np.bool_)
            self._namespaces[list(request.namespaces)] = True
        self._every_namespace = bool(self._namespaces.all())
        self._operations = np.array(request.operations, np.uint64)
        self._effective_only = request.effective_only

    def select(self, block: Block, results: bytes) -> state_pb2.WatchResponse | None:
        """Select from a block.

        Args:
            block: the block.
            results: the result code of each of its transactions, one byte each.

        Returns:
            What passes; None where nothing does.
        """
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
        if not self._every_namespace:
            chosen &= self._namespaces[meta & np.uint64(0xFFFF)]
        if self._operations.size:
            chosen &= np.isin((meta >> np.uint64(16)) & np.uint64(0xFF), self._operations)
        if self._effective_only:
            chosen &= codes == OK
        return chosen
