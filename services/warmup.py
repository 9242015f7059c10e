"""Loads the compiled path before the first transaction needs it, or compiles it where no cache is there yet.

One transaction goes through a ring and a state of its own. Until then a first caller would wait for the compiler.
"""

import numpy as np

from penstock.v1 import txqueue_pb2
from replication.block import BLOCK_BYTES_MAX
from services.admission import Admission
from services.wire import locate_frame
from statestore.state import StateMachine
from txqueue import record
from txqueue.queue import LockFreeTxQueue

_SLOTS = 16


def load_kernels() -> None:
    """Take one APPEND from bytes to its result, in the very types that the pipeline uses."""
    row = np.zeros(1, record.RECORD)
    row["sequence"], row["operation"] = 1, record.APPEND
    message = txqueue_pb2.SubmitFrameRequest(records=row.tobytes()).SerializeToString()
    frames = np.empty((record.BATCH_SIZE, 4), np.uint64)
    body = np.empty(BLOCK_BYTES_MAX, np.uint8)
    results = np.empty(record.BATCH_SIZE, np.uint8)
    with LockFreeTxQueue.create(None, slots=_SLOTS, producers=1) as queue, queue.register() as producer:
        published, _ = Admission(producer, None).admit(message, locate_frame(message), token=1)
        assert published
        taken = queue.dequeue_exclusive_batch(body, frames)
    assert taken.count == 1
    state = StateMachine(bytes_max=8 << 20, session_capacity=1)
    state.apply(body[: record.RECORD_BYTES], 1, 0, 0, 1, 1, results[:1])
    assert results[0] == record.OK
    state.close()
