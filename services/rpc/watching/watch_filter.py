"""Watch filter: selects the transactions of a block that a watcher asked for."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from penstock.contract import opcode
from penstock.contract.reasons import Reason
from penstock.contract.record import RECORD_BYTES, WORD_META
from penstock.contract.result_code import OK
from penstock.v1 import state_pb2
from replication.log.block import Block
from services.admission.namespaces import NAMESPACES, NamespaceSet
from services.refusal import Refusal

_LITTLE_U64: Final = np.dtype("<u8")
_PART_BYTES: Final = 512 << 10
"""Of one message, unless a single transaction is larger: far below gRPC's default limit, and all that a watch holds."""
_ROW_BYTES: Final = RECORD_BYTES + 8 + 1
"""Record, position and result."""


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

    def select(self, block: Block, results: bytes, from_position: int = 0) -> Iterator[state_pb2.WatchResponse]:
        """Select from a block.

        Args:
            block: the block.
            results: the result code of each of its transactions, one byte each.
            from_position: the number in the log of the first transaction wanted.

        Yields:
            What passes, in parts of up to half a MiB or one transaction; nothing where nothing passes.
        """
        records = block.records
        codes = np.frombuffer(results, np.uint8)
        chosen = self._mask(records[:, WORD_META], codes)
        chosen[: max(0, from_position - block.first_position)] = False
        (rows,) = np.nonzero(chosen)
        ends = np.cumsum(records[:, WORD_META] >> np.uint64(32), dtype=np.int64)
        begins = np.concatenate(([0], ends[:-1]))
        sizes = np.cumsum((ends - begins)[rows] + _ROW_BYTES)
        first = 0
        while first < rows.size:
            before = sizes[first - 1] if first else 0
            last = max(first + 1, int(np.searchsorted(sizes, before + _PART_BYTES, "right")))
            part = rows[first:last]
            whole = last == rows.size
            payloads = block.payloads[begins[part[0]] : ends[part[-1]]]
            if part[-1] - part[0] + 1 != part.size:
                within = slice(part[0], part[-1] + 1)
                payloads = payloads[np.repeat(chosen[within], (ends - begins)[within])]
            yield state_pb2.WatchResponse(
                log_index=block.index,
                time_unix_nano=block.time_ns,
                positions=(part.astype(_LITTLE_U64) + np.uint64(block.first_position)).tobytes(),
                records=records[part].tobytes(),
                payloads=payloads.tobytes(),
                results=codes[part].tobytes(),
                next_index=block.index + 1 if whole else block.index,
                next_position=block.next_position if whole else block.first_position + int(part[-1]) + 1,
            )
            first = last

    def _mask(self, meta: NDArray[np.uint64], codes: NDArray[np.uint8]) -> NDArray[np.bool_]:
        chosen = np.ones(len(meta), np.bool_)
        if not self._every_namespace:
            chosen &= self._namespaces[meta & np.uint64(0xFFFF)]
        if self._operations.size:
            chosen &= np.isin((meta >> np.uint64(16)) & np.uint64(0xFF), self._operations)
        if self._effective_only:
            chosen &= codes == OK
        return chosen
