"""The asyncio client."""

import secrets
from collections.abc import Callable
from types import TracebackType
from typing import Self

import grpc
import numpy as np
import numpy.typing as npt

from penstock.bulk import BulkFrame, check_size
from penstock.bulk import stamp as write_ids
from penstock.channel import open_channel
from penstock.errors import ClientClosed
from penstock.frame import Bytes
from penstock.options import BatchOptions, FlowOptions, RetryOptions
from penstock.record import Words, as_words
from penstock.results import FrameReceipt
from penstock.stream import SubmitStream
from penstock.window import Window


class AsyncClient:
    """A client of one node, for one event loop; use it as ``async with AsyncClient("127.0.0.1:50051") as client``.

    Make it inside a running event loop. ``target`` is ``host:port`` or ``unix:path``. ``client_id`` names the
    idempotency session and is random unless given; no two running programs may share one. ``traceparent`` is asked
    once per frame for the W3C trace context to link the frame to ("" for none).
    """

    def __init__(
        self,
        target: str = "127.0.0.1:50051",
        *,
        client_id: int | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        batch: BatchOptions | None = None,
        retry: RetryOptions | None = None,
        flow: FlowOptions | None = None,
        traceparent: Callable[[], str] = str,
    ) -> None:
        self.client_id = client_id or secrets.randbits(64) | 1
        self._batch = batch or BatchOptions()
        self._retry = retry or RetryOptions()
        self._window = Window(flow or FlowOptions())
        self._channel = open_channel(target, credentials, self._retry)
        self._stream = SubmitStream(self._channel, self._retry)
        self._traceparent = traceparent
        self._next_sequence = 1
        self._next_frame_id = 1
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Waits for all answers (up to the retry deadline), then disconnects. Further submissions raise
        ClientClosed."""
        self._closed = True
        await self._stream.close()
        await self._channel.close()

    @property
    def in_flight(self) -> tuple[int, int]:
        """Frames and transactions that are travelling unanswered."""
        return self._window.frames, self._window.transactions

    async def submit_frame(
        self, records: npt.NDArray[np.void] | Words, payloads: Bytes = b"", *, stamp: bool = True
    ) -> FrameReceipt:
        """Submits 1 to 10,000 transactions as they stand in columns, and returns their receipt.

        ``records`` is RECORD[n] or uint64[n, 8], C-contiguous; ``payloads`` holds their payloads one after the other.
        With ``stamp``, the client's id and fresh sequences are written into ``records`` (in place); without, they hold
        the caller's. The array is copied when there is room in flight, and may be reused once the receipt is there.

        Waits while the bounds of FlowOptions are reached. Raises InvalidOperation, a Refused, or OutcomeUnknown.
        """
        words = as_words(records)
        check_size(words, payloads)
        count = len(words)
        await self._window.wait_and_enter(count)
        try:
            if self._closed:
                raise ClientClosed("this client is closed")
            if stamp:
                write_ids(words, self.client_id, self._next_sequence)
                self._next_sequence += count
            frame = BulkFrame(self._next_frame_id, words, payloads, self._traceparent())
            self._next_frame_id += 1
            self._stream.send(frame)
            return await frame.receipt
        finally:
            self._window.leave(count)
