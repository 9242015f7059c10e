"""Frames whose every word says where it belongs, and their way back out of a queue."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from penstock.contract.limits import BATCH_SIZE, FRAME_PAYLOAD_BYTES_MAX
from penstock.contract.record import RECORD_BYTES
from txqueue.queue import LockFreeTxQueue


class Frame(NamedTuple):
    token: int
    records: NDArray[np.uint64]
    payloads: NDArray[np.uint8]


def make(token: int, count: int, payload_bytes: int = 0) -> Frame:
    """A frame whose contents follow from its token."""
    words = np.arange(count * 8, dtype=np.uint64) ^ np.uint64(token << 20)
    payloads = (np.arange(payload_bytes) + token).astype(np.uint8)
    return Frame(token, words.reshape(count, 8), payloads)


def assert_whole(frame: Frame) -> None:
    expected = make(frame.token, len(frame.records), frame.payloads.size)
    np.testing.assert_array_equal(frame.records, expected.records)
    np.testing.assert_array_equal(frame.payloads, expected.payloads)


class FrameReceiver:
    """A consumer with its buffers, which receives one batch of frames after the other."""

    def __init__(self, queue: LockFreeTxQueue, rows: int = 4096) -> None:
        self.queue = queue
        self.body = np.zeros(BATCH_SIZE * RECORD_BYTES + FRAME_PAYLOAD_BYTES_MAX, np.uint8)
        self.rows = np.zeros((rows, 4), np.uint64)

    def receive(self, limit: int | None = None) -> list[Frame]:
        batch = self.queue.dequeue_exclusive_batch(self.body, self.rows, limit)
        assert batch.count == self.rows[: batch.frames, 2].sum()
        assert batch.payload_bytes == self.rows[: batch.frames, 3].sum()
        return list(self._cut(batch.frames, batch.count * RECORD_BYTES))

    def _cut(self, frames: int, payload_at: int) -> Iterator[Frame]:
        for token, first, count, payload_bytes in self.rows[:frames].tolist():
            records = self.body[first * RECORD_BYTES : (first + count) * RECORD_BYTES].view(np.uint64).reshape(count, 8)
            yield Frame(token, records.copy(), self.body[payload_at : payload_at + payload_bytes].copy())
            payload_at += payload_bytes
