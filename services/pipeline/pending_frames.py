"""Pending frames: those under way, and their answers, from the end of the pipeline back to whoever waits.

The pipeline's threads know frames by a token. One call per block crosses from them into the event loop, where each
frame's receipt is encoded and handed to its caller. Nothing here runs per transaction.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from penstock.contract.frame_codec import encode_receipt
from services.refusal import Refusal
from services.telemetry.counters import Counter, Counters

Deliver = Callable[[int, bytes | Refusal], None]
"""Takes a frame's id and its encoded receipt, or the reason why there is none. Runs in the event loop, never blocks."""


class _Waiting(NamedTuple):
    frame_id: int
    deliver: Deliver
    traceparent: str
    records: int
    payload_bytes: int


class PendingFrames:
    """The frames that were admitted and not answered yet. Lives in the event loop; the pipeline calls in."""

    def __init__(self, loop: asyncio.AbstractEventLoop, counters: Counters) -> None:
        self._loop = loop
        self._counters = counters
        self._waiting: dict[int, _Waiting] = {}
        self._next_token = 1
        self.records = 0
        """Records of the frames that wait."""
        self.payload_bytes = 0
        """Their payloads' bytes."""
        self._progress = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def register(self, frame_id: int, deliver: Deliver, traceparent: str, records: int, payload_bytes: int) -> int:
        """Register a frame that is about to be admitted; returns its token."""
        token = self._next_token
        self._next_token += 1
        self._waiting[token] = _Waiting(frame_id, deliver, traceparent, records, payload_bytes)
        self.records += records
        self.payload_bytes += payload_bytes
        return token

    def unregister(self, token: int) -> None:
        """Drop a frame that was not admitted after all."""
        self._take(token)

    def _take(self, token: int) -> _Waiting | None:
        frame = self._waiting.pop(token, None)
        if frame is not None:
            self.records -= frame.records
            self.payload_bytes -= frame.payload_bytes
        return frame

    async def progress(self) -> None:
        """Wait until some frame has been answered, which is when the ring may have room again."""
        self._progress.clear()
        await self._progress.wait()

    def wake(self) -> None:
        """Let whoever waits for progress look around."""
        self._progress.set()

    async def drained(self) -> None:
        """Wait until every admitted frame has been answered."""
        while self._waiting:
            await self.progress()

    def complete(self, frames: NDArray[np.uint64], log_index: int, first_position: int, results: bytes) -> None:
        """Answer the frames of an applied block. Called by the applier's thread.

        Args:
            frames: uint64[n, 4], rows of (token, first record in the block, records, payload bytes).
            log_index: the block.
            first_position: the number of the block's first transaction in the log.
            results: one result code per record of the block.
        """
        self._loop.call_soon_threadsafe(self._complete, frames.tolist(), log_index, first_position, results)

    def refuse(self, frames: NDArray[np.uint64], refusal: Refusal) -> None:
        """Refuse frames that were admitted but will certainly not be in the log. Called by the pipeline's threads."""
        self._loop.call_soon_threadsafe(self._refuse, frames[:, 0].tolist(), refusal)

    def refuse_all(self, refusal: Refusal) -> None:
        """Answer whatever still waits with ``refusal``. Called in the event loop."""
        self._refuse(list(self._waiting), refusal)

    def _complete(self, frames: list[list[int]], log_index: int, first_position: int, results: bytes) -> None:
        for token, first, count, _ in frames:
            frame = self._take(token)
            if frame is not None:
                receipt = encode_receipt(
                    frame.frame_id, log_index, first_position + first, results[first : first + count]
                )
                frame.deliver(frame.frame_id, receipt)
        self._counters.add(Counter.FRAMES_ANSWERED, len(frames))
        self._counters.add(Counter.TRANSACTIONS_ANSWERED, len(results))
        self._progress.set()

    def _refuse(self, tokens: Iterable[int], refusal: Refusal) -> None:
        for token in tokens:
            frame = self._take(token)
            if frame is not None:
                frame.deliver(frame.frame_id, refusal)
                self._counters.add(Counter.FRAMES_ANSWERED)
        self._progress.set()

    def traceparents(self, frames: NDArray[np.uint64]) -> list[str]:
        """The sampled submitters of some frames. Called by the pipeline's threads before the frames are answered."""
        found = (self._waiting.get(token) for token in frames[:, 0].tolist())
        return [frame.traceparent for frame in found if frame is not None and frame.traceparent]
