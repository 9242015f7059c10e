"""Bulk sender: sends frames that a program gives whole, and the end of its session."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

import numpy as np

from penstock.client.errors import ClientClosed, PenstockError
from penstock.client.process.runtime_support import CLOSED
from penstock.client.results import FrameReceipt
from penstock.client.session import Session
from penstock.client.transport.bulk_frame import BulkFrame, check_payload_lengths, frame_slices
from penstock.client.transport.bulk_frame import stamp as write_ids
from penstock.client.transport.flow_window import FlowWindow, enter_window
from penstock.client.transport.submit_stream import SubmitStream
from penstock.contract.frame_codec import Bytes
from penstock.contract.opcode import END_SESSION
from penstock.contract.record import RECORD_WORDS, WORD_META, Words

END_SESSION_S: Final = 1.0
"""How long a closing client waits for the end of its session."""


class BulkSender:
    """Sends frames of columns. For one event loop.

    Args:
        session: gives the ids.
        window: bounds what is in flight.
        stream: carries the frames.
        traceparent: gives each frame its trace context.
        deadline_s: how long a frame is tried at least.
    """

    def __init__(
        self,
        session: Session,
        window: FlowWindow,
        stream: SubmitStream,
        traceparent: Callable[[], str],
        deadline_s: float,
    ) -> None:
        self._session = session
        self._window = window
        self._stream = stream
        self._traceparent = traceparent
        self._deadline_s = deadline_s
        self._loop = asyncio.get_running_loop()
        self._closed = False

    def close(self) -> None:
        """Take no more frames."""
        self._closed = True

    async def send(
        self, words: Words, payloads: Bytes, deadline: float, *, stamp: bool
    ) -> Coroutine[Any, Any, FrameReceipt]:
        """Send a frame when there is room; what this returns waits for its receipt.

        Raises:
            ClientClosed: the client was closed.
            Unavailable: there was no room by the deadline.
        """
        count = len(words)
        self._check_open()
        await enter_window(self._window, count, deadline)
        try:
            self._check_open()
            if stamp:
                write_ids(words, self._session.client_id, self._session.take_sequences(count))
            frame = BulkFrame(self._session.take_frame_id(), words, payloads, self._traceparent())
            frame.fresh = stamp
            frame.deadline = max(deadline, self._loop.time() + self._deadline_s)
        except BaseException:
            self._window.leave(count)
            raise
        self._stream.send(frame)
        return self._receipt(frame, deadline)

    async def send_all(
        self, words: Words, payloads: Bytes, deadline: float | None, *, stamp: bool
    ) -> list[FrameReceipt]:
        """Send any number of transactions as frames, all in flight at once, and wait for their receipts.

        Without a ``deadline`` each frame has its own.

        Raises:
            InvalidOperation: a chain or a payload is larger than a frame, or the payloads are not as long as the
                records say; nothing was sent.
            PenstockError: that of the first frame that failed, when all have been answered or given up.
        """
        parts = memoryview(payloads).cast("B")
        slices = list(frame_slices(words))
        check_payload_lengths(slices, parts.nbytes)
        receipts: list[asyncio.Task[FrameReceipt]] = []
        try:
            for rows, part in slices:
                until = deadline or self._loop.time() + self._deadline_s
                receipt = await self.send(words[rows], parts[part], until, stamp=stamp)
                receipts.append(self._loop.create_task(receipt))
        except PenstockError:
            await asyncio.gather(*receipts, return_exceptions=True)
            await asyncio.gather(*receipts)  # an error of these came first
            raise
        except BaseException:
            for task in receipts:
                task.cancel()
            raise
        await asyncio.gather(*receipts, return_exceptions=True)
        return await asyncio.gather(*receipts)

    async def end_session(self) -> None:
        """Free the node's memory of this session, where nobody needs it: its id was drawn, and all was answered."""
        if not (self._session.drawn and self._session.newest_sequence and self._stream.is_open):
            return
        if not self._stream.all_known or self._window.frames:
            return
        words = np.zeros((1, RECORD_WORDS), np.uint64)
        words[0, WORD_META] = END_SESSION << 16
        write_ids(words, self._session.client_id, self._session.take_sequences(1))
        frame = BulkFrame(self._session.take_frame_id(), words, b"", "")
        self._window.enter(1)
        self._stream.send(frame)
        with suppress(PenstockError, TimeoutError):  # an older node refuses it; sessions end by themselves, too
            async with asyncio.timeout(END_SESSION_S):
                await frame.receipt

    async def _receipt(self, frame: BulkFrame, deadline: float) -> FrameReceipt:
        timer = self._loop.call_at(deadline, self._stream.give_up, frame, "no answer in time")
        try:
            return await frame.receipt
        finally:
            timer.cancel()

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosed(CLOSED)
