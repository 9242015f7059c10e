"""Submit stream: one SubmitStream call, its frames in flight, and the receipts that are to be written to it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

import grpc

from services.refusal import Refusal
from services.rpc.limits.arriving_messages import ArrivingMessages
from services.rpc.rich_status import Context, abort, encode_frame_error

_CUT_S: Final = 1.0
"""What a stream that is cut gets to take the answers of frames in flight; a client asks again for the others."""


class SubmitStream:
    """Bounds a client's frames in flight: those read whose receipts have not been written yet.

    A client that does not read its receipts is not read from either; other clients are not affected.
    """

    def __init__(self, context: Context, arriving: ArrivingMessages, in_flight_frames_max: int) -> None:
        self._context = context
        self._arriving = arriving
        self._in_flight_frames_max = in_flight_frames_max
        self._in_flight = 0
        self._ending = False
        self._failure: Exception | None = None
        self._cut_by: Refusal | None = None
        self._cut_off = asyncio.timeout(None)
        self._receipts: deque[bytes] = deque()
        self._answered = asyncio.Event()
        self._written = asyncio.Event()

    async def frames(self) -> AsyncIterator[bytes]:
        """Read frames, each counted as in flight until its receipt is written, until the stream ends.

        Raises:
            MessageCut: the stream is to end, and not to wait for its client any longer.
        """
        while not self._ending:
            while self._in_flight >= self._in_flight_frames_max:
                self._written.clear()
                await self._written.wait()
            message = await self._arriving.read_of_stream(self._context)
            if message is grpc.aio.EOF or self._ending:
                return
            self._in_flight += 1
            yield message

    def deliver(self, frame_id: int, outcome: bytes | Refusal) -> None:
        """Queue a frame's receipt, or why it was refused, for writing."""
        self._receipts.append(encode_frame_error(frame_id, outcome) if isinstance(outcome, Refusal) else outcome)
        self._answered.set()

    def end(self) -> None:
        """Take no more frames; `write_receipts` returns once all that were taken are answered."""
        self._ending = True
        self._answered.set()

    def fail(self, error: Exception) -> None:
        """Have `write_receipts` raise ``error``, which kept a frame from being answered."""
        self._failure = error
        self._answered.set()

    def cut(self, refusal: Refusal) -> None:
        """Take no more frames; `write_receipts` ends the call with ``refusal``, and soon where answers are not read."""
        self._cut_by = refusal
        with suppress(RuntimeError):  # the call has ended already
            self._cut_off.reschedule(asyncio.get_running_loop().time() + _CUT_S)
        self.end()

    async def write_receipts(self) -> None:
        """Write answers as they come until the stream has ended and nothing is in flight; aborts a call that is cut."""
        try:
            async with self._cut_off:
                await self._write_receipts()
        except TimeoutError:
            if self._cut_by is None:
                raise
        if self._cut_by is not None:
            await abort(self._context, self._cut_by)

    async def _write_receipts(self) -> None:
        while self._in_flight or not self._ending:
            if self._failure is not None:
                raise self._failure
            while self._receipts:
                await self._context.write(self._receipts.popleft())
                self._in_flight -= 1
                self._written.set()
            if self._in_flight or not self._ending:
                self._answered.clear()
                await self._answered.wait()
