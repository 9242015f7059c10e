"""Makes frames of transactions that are submitted one by one.

When a frame leaves is decided so that nobody waits in vain. While few frames travel (``eager_frames``), the next one
leaves at the end of the event loop's current round: a lone transaction waits for nothing, and a thousand coroutines
that were woken by the same receipt still leave together. While more travel, transactions gather until one of those is
answered, the linger is over or the frame is full. While no more may travel (FlowOptions), the frame waits for room,
and once it is full, so do its submitters.
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
from penstock.client.transport.flow_window import Window
from penstock.client.transport.submit_stream import SubmitStream
from penstock.contract.limits import FRAME_PAYLOAD_BYTES_MAX
from penstock.contract.record import RECORD, RECORD_BYTES, RECORD_WORDS


class Batcher:
    """Gathers records (ids still zero) and their waiters, and sends them as frames. For one event loop."""

    def __init__(
        self,
        options: BatchOptions,
        session: Session,
        window: Window,
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
        self._departure: asyncio.Handle | None = None
        """What will make the gathered transactions leave, unless they leave before."""
        self._queueing = False
        """They wait for room in flight."""
        self._barred: deque[asyncio.Future[None]] = deque()
        self._closed = False

    def add(self, record: bytes, payload: bytes = b"") -> Waiter:
        """Takes one transaction in; the caller has made sure of ``has_place``. The waiter gets its result."""
        waiter = self._new_waiter()
        self._records.append(record)
        self._waiters.append(waiter)
        if payload:
            self._payloads.append(payload)
            self._payload_bytes += len(payload)
        if self._departure is None:
            self._plan_departure()
        elif len(self._records) >= self.size_max:
            self._depart()
        return waiter

    def has_place(self, count: int = 1, payload_bytes: int = 0) -> bool:
        """Whether the gathering frame takes so much more."""
        return (
            len(self._records) + count <= self.size_max
            and self._payload_bytes + payload_bytes <= FRAME_PAYLOAD_BYTES_MAX
            and not self._closed
        )

    async def place(self, count: int, payload_bytes: int) -> None:
        """Returns when there is place for so much, which must be no more than a frame holds; raises ClientClosed."""
        while not self.has_place(count, payload_bytes):
            if self._closed:
                raise ClientClosed("this client is closed")
            if not self._queueing:
                self._depart()
                continue
            await self._turn()

    async def send_apart(self, records: Sequence[bytes], payloads: bytes, first_sequence: int | None) -> list[Waiter]:
        """Sends transactions in a frame of their own when there is room; with a sequence, under ids used before."""
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
        """Takes nothing more in, and returns when what was taken has left."""
        self._closed = True
        self._let_in(len(self._barred))
        self._depart()
        while self._records:
            await self._turn()

    def _plan_departure(self) -> None:
        if self._window.frames < self._eager_frames:
            self._departure = self._loop.call_soon(self._depart)
        else:
            self._departure = self._loop.call_later(self._linger_s, self._depart)

    def _depart(self) -> None:
        if self._departure is not None:
            self._departure.cancel()
        if self._queueing or not self._records:
            return
        if self._window.offer(len(self._records)):
            self._leave()
        else:
            self._queueing = True
            self._window.request(self.size_max).add_done_callback(self._admitted)

    def _admitted(self, _: "asyncio.Future[None]") -> None:
        """There is room for a full frame: what has gathered by now leaves, and the rest of the room is given back."""
        self._queueing = False
        spare = self.size_max - len(self._records)
        self._leave()
        self._window.shrink(spare)

    def _leave(self) -> None:
        self._departure = None
        records, payloads, waiters = b"".join(self._records), b"".join(self._payloads), self._waiters
        self._records, self._payloads, self._waiters, self._payload_bytes = [], [], [], 0
        self._send(records, payloads, waiters, self._session.take_sequences(len(waiters)))
        self._let_in(self.size_max)

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
        frame = self._frame(stamped, payloads, waiters, self._traceparent())
        frame.fresh = fresh
        self._stream.send(frame)

    def _frame(
        self, records: bytes | bytearray, payloads: bytes, waiters: Sequence[Waiter], traceparent: str
    ) -> BatchFrame:
        return BatchFrame(
            self._session.take_frame_id(),
            records,
            payloads,
            waiters,
            traceparent=traceparent,
            ended=self._ended,
            isolate=self._isolate,
        )

    def _ended(self) -> None:
        if self._records and not self._queueing and self._window.frames < self._eager_frames:
            # After those whom this answer has just woken, so that what they submit next comes along.
            self._loop.call_soon(self._depart)

    def _isolate(self, frame: BatchFrame, middle: int) -> None:
        """Sends a refused frame again as two, under the same ids: halving goes on until the culprits are alone."""
        lengths = np.frombuffer(frame.records, RECORD)["payload_length"]
        cut = int(lengths[:middle].sum())
        head = frame.records[: middle * RECORD_BYTES], frame.payloads[:cut], frame.waiters[:middle]
        tail = frame.records[middle * RECORD_BYTES :], frame.payloads[cut:], frame.waiters[middle:]
        for records, payloads, waiters in (head, tail):
            self._window.enter(len(waiters))  # not asking for room: this is no new work
            self._stream.send(self._frame(records, payloads, waiters, frame.traceparent))

    async def _turn(self) -> None:
        turn = self._loop.create_future()
        self._barred.append(turn)
        await turn

    def _let_in(self, count: int) -> None:
        """Wakes the first ``count`` who wait for a place; there may be many more than a frame holds."""
        while self._barred and count:
            turn = self._barred.popleft()
            if not turn.done():
                turn.set_result(None)
                count -= 1
