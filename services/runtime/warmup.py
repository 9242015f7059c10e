"""Warm-up: loads the compiled code of a transaction's path before the first transaction needs it.

Run as a program it compiles all that a node needs into the cache. The compiler's memory then goes with that process,
and does not stay with the node for its whole life.
"""

from typing import Final

import numpy as np

from penstock.contract import limits, opcode, record, result_code
from penstock.contract.frame_codec import locate_frame
from penstock.v1 import txqueue_pb2
from pooling.arena.slab_arena import SlabArena
from replication.log.block import BLOCK_BYTES_MAX
from services.admission.frame_validator import FrameValidator, Publication
from services.admission.namespaces import NamespaceSet
from statestore.state_machine import StateMachine
from txqueue.jit import kernel_cache
from txqueue.queue import LockFreeTxQueue

_SLOTS: Final = 16


def load_kernels() -> None:
    """Take one APPEND from bytes to its result, in the very types that the pipeline uses."""
    row = np.zeros(1, record.RECORD)
    row["sequence"], row["operation"] = 1, opcode.APPEND
    message = txqueue_pb2.SubmitFrameRequest(records=row.tobytes()).SerializeToString()
    frames = np.empty((limits.BATCH_SIZE, 4), np.uint64)
    body = np.empty(BLOCK_BYTES_MAX, np.uint8)
    results = np.empty(limits.BATCH_SIZE, np.uint8)
    with LockFreeTxQueue.create(None, slots=_SLOTS, producers=1) as queue, queue.register() as producer:
        outcome = FrameValidator(producer, NamespaceSet(None)).publish(message, locate_frame(message), token=1)
        assert isinstance(outcome, Publication)
        taken = queue.dequeue_exclusive_batch(body, frames)
        queue.rebalance_if_needed()
    assert taken.count == 1
    with StateMachine(bytes_max=8 << 20) as state:
        state.apply(body[: record.RECORD_BYTES], 1, 0, 0, 1, 1, results[:1])
        assert results[0] == result_code.OK


def compile_all() -> None:
    """Compile what the path needs, and what only reads, checks and shared buffers do."""
    load_kernels()
    with LockFreeTxQueue.create(None, slots=_SLOTS, producers=1) as queue:
        queue.get_queue_metrics()
    with StateMachine(bytes_max=8 << 20) as state:
        state.state_digest()
        one = np.ones(1, np.uint8)
        state.read(one, one.astype(np.uint16), one.astype(np.uint16), one)
    with SlabArena.create(None, bytes_max=1 << 20) as arena:
        arena.get_arena_metrics()
    kernel_cache.mark_complete()


if __name__ == "__main__":
    compile_all()
