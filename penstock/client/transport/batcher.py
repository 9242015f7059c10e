"""Batcher: gathers transactions that are submitted one by one into frames.

A frame is sent as soon as waiting would gain nothing. While few frames are in flight (``eager_frames``), the next one
is sent at the end of the event loop's current round: a lone transaction does not wait, and a thousand coroutines that
the same receipt woke share a frame. While more are in flight, transactions gather until one of those is answered, the
linger time is over or the frame is full. While no more may be in flight (FlowOptions), the frame waits for room and,
once it is full, so do its submitters.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from penstock.client.errors import ClientClosed
from penstock.client.options import BatchOptions
from penstock.client.session import Session
from penstock.client.transport.batch_frame import BatchFrame, Waiter
from penstock.client.transport.bulk_frame import stamp
from penstock.client.transport.flow_window import FlowWindow
from penstock.client.transport.submit_stream import SubmitStream
from penstock.contract.limits import FRAME_PAYLOAD_BYTES_MAX
from penstock.contract.record import RECORD, RECORD_BYTES, RECORD_WORDS


class Batcher:
    """Gathers records (ids still zero) and their waiters, and sends them as frames. For one event loop."""

    def __init__(
        self,
        options: BatchOptions,
        session: Session,
        window: FlowWindow,
        stream: SubmitStream,
        traceparent: Callable[[], str],
    ) -> None:
        self.size_max = options.size_max
        self._eager_frames = options.eager_frames
        self._linger_s = options.linger_ms / 1e3
        self._session = session
        self._window = window
        self._stream = stream
        self._traceparent = traceparent
        self._loop = asyncio.get_running_loop()
        self._new_waiter: Callable[[], Waiter] = self._loop.create_future
        self._records: list[bytes] = []
        self._payloads: list[bytes] = []
        self._payload_bytes = 0
        self._waiters: list[Waiter] = []
        self._flush_handle: asyncio.Handle | None = None
        """The scheduled flush of the gathered transactions."""
        self._awaits_window = False
        """The gathered transactions wait for room in the window."""
        self._submitters_waiting: deque[asyncio.Future[None]] = deque()
        self._closed = False

    def add(self, record: bytes, payload: bytes = b"") -> Waiter:
        """Add one transaction, for which there must be room; the waiter gets its result."""
        waiter = self._new_waiter()
        self._records.append(record)
        self._waiters.append(waiter)
        if payload:
            self._payloads.append(payload)
            self._payload_bytes += len(payload)
        if self._flush_handle is None:
            self._schedule_flush()
        elif len(self._records) >= self.size_max:
            self._flush()
        return waiter

    def has_room(self, count: int = 1, payload_bytes: int = 0) -> bool:
        """Whether so much more fits into the gathering frame."""
        return (
            len(self._records) + count <= self.size_max
            and self._payload_bytes + payload_bytes <= FRAME_PAYLOAD_BYTES_MAX
            and not self._closed
        )

    async def wait_for_room(self, count: int, payload_bytes: int) -> None:
        """Wait until there is room for so much, which must be no more than a frame holds.

        Raises:
            ClientClosed: the client was closed.
        """
        while not self.has_room(count, payload_bytes):
            if self._closed:
                raise ClientClosed("this client is closed")
            if not self._awaits_window:
                self._flush()
                continue
            await self._wait_turn()

    async def send_alone(self, records: Sequence[bytes], payloads: bytes, first_sequence: int | None) -> list[Waiter]:
        """Send transactions in a frame of their own when there is room; with a sequence, under ids used before.

        Raises:
            ClientClosed: the client was closed.
        """
        await self._window.wait_and_enter(len(records))
        if self._closed:
            self._window.leave(len(records))
            raise ClientClosed("this client is closed")
        fresh = first_sequence is None
        if first_sequence is None:
            first_sequence = self._session.take_sequences(len(records))
        waiters = [self._new_waiter() for _ in records]
        self._send(b"".join(records), payloads, waiters, first_sequence, fresh=fresh)
        return waiters

    async def close(self) -> None:
        """Refuse further transactions, and wait until those that were added are sent."""
        self._closed = True
        self._wake_submitters(len(self._submitters_waiting))
        self._flush()
        while self._records:
            await self._wait_turn()

    def _schedule_flush(self) -> None:
        if self._window.frames < self._eager_frames:
            self._flush_handle = self._loop.call_soon(self._flush)
        else:
            self._flush_handle = self._loop.call_later(self._linger_s, self._flush)

    def _flush(self) -> None:
        if self._flush_handle is not None:
            self._flush_handle.cancel()
        if self._awaits_window or not self._records:
            return
        if self._window.try_enter(len(self._records)):
            self._send_gathered()
        else:
            self._awaits_window = True
            self._window.request(self.size_max).add_done_callback(self._send_once_entered)

    def _send_once_entered(self, _: "asyncio.Future[None]") -> None:
        """The window has room for a full frame: send what has gathered, and give the rest of the room back."""
        self._awaits_window = False
        spare = self.size_max - len(self._records)
        self._send_gathered()
        self._window.shrink(spare)

    def _send_gathered(self) -> None:
        self._flush_handle = None
        records, payloads, waiters = b"".join(self._records), b"".join(self._payloads), self._waiters
        self._records, self._payloads, self._waiters, self._payload_bytes = [], [], [], 0
        self._send(records, payloads, waiters, self._session.take_sequences(len(waiters)))
        self._wake_submitters(self.size_max)

    def _send(
        self,
        records: bytes,
        payloads: bytes,
        waiters: Sequence[Waiter],
        first_sequence: int,
        *,
        fresh: bool = True,
    ) -> None:
        stamped = bytearray(records)
        words = np.frombuffer(stamped, np.uint64).reshape(-1, RECORD_WORDS)
        stamp(words, self._session.client_id, first_sequence)
        frame = self._make_frame(stamped, payloads, waiters, self._traceparent())
        frame.fresh = fresh
        self._stream.send(frame)

    def _make_frame(
        self, records: bytes | bytearray, payloads: bytes, waiters: Sequence[Waiter], traceparent: str
    ) -> BatchFrame:
        return BatchFrame(
            self._session.take_frame_id(),
            records,
            payloads,
            waiters,
            traceparent=traceparent,
            ended=self._frame_ended,
            bisect=self._bisect,
        )

    def _frame_ended(self) -> None:
        if self._records and not self._awaits_window and self._window.frames < self._eager_frames:
            # After the coroutines that this answer woke, so that what they submit next comes along.
            self._loop.call_soon(self._flush)

    def _bisect(self, frame: BatchFrame, middle: int) -> None:
        """Send a refused frame again as two, under the same ids, until the refused transactions are alone."""
        lengths = np.frombuffer(frame.records, RECORD)["payload_length"]
        cut = int(lengths[:middle].sum())
        head = frame.records[: middle * RECORD_BYTES], frame.payloads[:cut], frame.waiters[:middle]
        tail = frame.records[middle * RECORD_BYTES :], frame.payloads[cut:], frame.waiters[middle:]
        for records, payloads, waiters in (head, tail):
            self._window.enter(len(waiters))  # whether or not there is room: this is no new work
            self._stream.send(self._make_frame(records, payloads, waiters, frame.traceparent))

    async def _wait_turn(self) -> None:
        turn = self._loop.create_future()
        self._submitters_waiting.append(turn)
        await turn

    def _wake_submitters(self, count: int) -> None:
        """Wake the first ``count`` submitters that wait for room; there may be many more than a frame holds."""
        while self._submitters_waiting and count:
            turn = self._submitters_waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                count -= 1
