"""Batcher: gathers transactions that are submitted one by one into frames.

A frame is sent as soon as waiting would gain nothing. While few frames are in flight (``eager_frames``), the next one
is sent at the end of the event loop's current round: a lone transaction does not wait, and a thousand coroutines that
the same receipt woke share a frame. While more are in flight, transactions gather until one of those is answered, the
linger time is over or the frame is full. While no more may be in flight (FlowOptions), the frame waits for room and,
once it is full, so do its submitters.

Nobody waits beyond a deadline. Transactions that wait for the window are withdrawn at theirs, unsent; one on the wire
is given up, while its frame goes on.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence

import numpy as np
import numpy.typing as npt

from penstock.client.errors import ClientClosed, PenstockError
from penstock.client.options import BatchOptions
from penstock.client.process.runtime_support import CLOSED
from penstock.client.session import Session
from penstock.client.transport.batch_frame import BatchFrame, Piece, Waiter
from penstock.client.transport.deadlines import Deadlines
from penstock.client.transport.flow_window import FlowWindow, enter_window, no_place
from penstock.client.transport.gathering import Gathering
from penstock.client.transport.submit_stream import SubmitStream
from penstock.client.transport.turns import Turns
from penstock.contract.limits import FRAME_PAYLOAD_BYTES_MAX
from penstock.contract.record import RECORD_WORDS, WORD_CLIENT, WORD_SEQUENCE


class Batcher:
    """Gathers records (ids still zero) and their waiters, and sends them as frames. For one event loop."""

    def __init__(
        self,
        options: BatchOptions,
        session: Session,
        window: FlowWindow,
        stream: SubmitStream,
        traceparent: Callable[[], str],
        deadline_s: float,
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
        self._gathering = Gathering()
        self._flush_handle: asyncio.Handle | None = None
        """The scheduled flush of the gathered transactions."""
        self._awaits_window = False
        """The gathered transactions wait for room in the window."""
        self._deadlines = Deadlines(deadline_s, self._give_up)
        self.give_up_at = self._deadlines.at
        """Give some waiters up at a deadline, unless what this returns is cancelled before."""
        self._turns = Turns()
        self._closed = False

    def add(self, record: bytes, payload: bytes = b"", deadline: float = 0.0) -> Waiter:
        """Add one transaction, for which there must be room; the waiter gets its result.

        A ``deadline`` is that of ``give_up_at``, which the caller calls next; without, the transaction has the usual.
        """
        gathering = self._gathering
        waiter = self._new_waiter()
        gathering.records.append(record)
        gathering.waiters.append(waiter)
        if payload:
            gathering.parts.append(payload)
            gathering.parts_at.append(len(gathering.records) - 1)
            gathering.payload_bytes += len(payload)
        if deadline:
            self._deadlines.note([waiter], deadline)
        if self._flush_handle is None:
            self._schedule_flush()
        elif self._awaits_window:
            self._deadlines.add_blocked([waiter])
        elif len(gathering.records) >= self.size_max:
            self._flush()
        return waiter

    def add_chain(self, records: Sequence[bytes], payloads: bytes, deadline: float = 0.0) -> list[Waiter]:
        """``add`` for a whole chain."""
        gathering = self._gathering
        waiters = [self._new_waiter() for _ in records]
        gathering.records.extend(records)
        gathering.waiters.extend(waiters)
        if payloads:
            gathering.parts.append(payloads)
            gathering.parts_at.append(len(gathering.records) - 1)
            gathering.payload_bytes += len(payloads)
        if deadline:
            self._deadlines.note(waiters, deadline)
        if self._flush_handle is None:
            self._schedule_flush()
        if self._awaits_window:
            self._deadlines.add_blocked(waiters)
        elif len(gathering.records) >= self.size_max:
            self._flush()
        return waiters

    def sequence_of_newest(self, waiter: Waiter) -> int:
        """The sequence of the transaction that was added just now."""
        gathering = self._gathering
        if not gathering.waiters or gathering.waiters[-1] is not waiter:
            return self._session.newest_sequence  # it has filled the frame, which is sent
        gathering.number(self._session)
        return gathering.sequences[-1]

    def has_room(self, count: int = 1, payload_bytes: int = 0) -> bool:
        """Whether so much more fits into the gathering frame."""
        return (
            len(self._gathering.records) + count <= self.size_max
            and self._gathering.payload_bytes + payload_bytes <= FRAME_PAYLOAD_BYTES_MAX
            and not self._closed
        )

    async def wait_for_room(self, count: int, payload_bytes: int, deadline: float) -> None:
        """Wait until there is room for so much, which must be no more than a frame holds.

        Raises:
            ClientClosed: the client was closed.
            Unavailable: there was none by the deadline.
        """
        try:
            async with asyncio.timeout_at(deadline):
                while not self.has_room(count, payload_bytes):
                    self._check_open()
                    if not self._awaits_window:
                        self._flush()
                        continue
                    await self._turns.wait()
        except TimeoutError:
            raise no_place() from None

    async def send_alone(
        self, records: Sequence[bytes], payloads: bytes, first_sequence: int | None, deadline: float
    ) -> list[Waiter]:
        """Send transactions in a frame of their own when there is room; with a sequence, under ids used before.

        Raises:
            ClientClosed: the client was closed.
            Unavailable: there was no room by the deadline.
        """
        count = len(records)
        self._check_open()
        await enter_window(self._window, count, deadline)
        waiters = [self._new_waiter() for _ in records]
        try:
            self._check_open()
            first = self._session.take_sequences(count) if first_sequence is None else first_sequence
            sequences = np.arange(count, dtype=np.uint64) + np.uint64(first)
            frame = self._make_frame(self._stamped(records, sequences, [payloads], [count - 1], waiters))
        except BaseException:
            self._window.leave(count)
            raise
        frame.fresh = first_sequence is None
        frame.deadline = max(deadline, self._loop.time() + self._deadlines.usual_s)
        self._stream.send(frame)
        return waiters

    async def close(self) -> None:
        """Refuse further transactions, and wait until those that were added are sent."""
        self._closed = True
        self._turns.wake_all()
        self._flush()
        while self._gathering.records:
            await self._turns.wait()

    def close_in_child(self) -> None:
        """Take no transactions in this process, which inherited the batcher through a fork."""
        self._closed = True

    def abandon(self) -> None:
        """Refuse further transactions, and those that were not sent."""
        self._closed = True
        self._turns.wake_all()
        gathering, self._gathering = self._gathering, Gathering()
        _fail(gathering.waiters, ClientClosed("this client was closed before it was sent; nothing took effect"))

    def _schedule_flush(self) -> None:
        self._gathering.started_at = self._loop.time()
        if self._window.frames < self._eager_frames:
            self._flush_handle = self._loop.call_soon(self._flush)
        else:
            self._flush_handle = self._loop.call_later(self._linger_s, self._flush)

    def _flush(self) -> None:
        if self._flush_handle is not None:
            self._flush_handle.cancel()
        count = len(self._gathering.records)
        if self._awaits_window or not count:
            return
        if self._window.try_enter(count):
            self._send_gathered()
        else:
            self._awaits_window = True
            self._deadlines.block(self._gathering.waiters.copy(), self._gathering.started_at)
            self._window.request(self.size_max).add_done_callback(self._send_once_entered)

    def _send_once_entered(self, _: "asyncio.Future[None]") -> None:
        """The window has room for a full frame: send what has gathered, and give the rest of the room back."""
        self._awaits_window = False
        self._deadlines.unblock()
        count = len(self._gathering.records)
        if count:
            self._window.shrink(self.size_max - count)
            self._send_gathered()
        else:  # all were withdrawn
            self._start_anew()
            self._window.leave(self.size_max)

    def _start_anew(self) -> tuple[Gathering, list[asyncio.TimerHandle], float]:
        was = (self._gathering, *self._deadlines.take())
        self._flush_handle = None
        self._gathering = Gathering()
        self._turns.wake(self.size_max)
        return was

    def _send_gathered(self) -> None:
        """Send what has gathered; whatever goes wrong fails those who wait for it, and nobody else."""
        gathering, timers, latest = self._start_anew()
        count = len(gathering.records)
        try:
            sequences = gathering.take_sequences(self._session)
            waiters = gathering.waiters
            frame = self._make_frame(
                self._stamped(gathering.records, sequences, gathering.parts, gathering.parts_at, waiters)
            )
        except Exception as error:
            self._window.leave(count)
            _fail(gathering.waiters, error)
            return
        frame.fresh = True
        frame.timers = timers
        usual = self._loop.time() + self._deadlines.usual_s
        if latest > usual:
            frame.deadline = latest
            timers.append(self._deadlines.end_usual_at(usual, gathering.waiters))
        self._stream.send(frame)

    def _stamped(
        self,
        records: Sequence[bytes],
        sequences: npt.NDArray[np.uint64],
        parts: Sequence[bytes],
        parts_at: Sequence[int],
        waiters: Sequence[Waiter],
    ) -> Piece:
        stamped = bytearray().join(records)
        words = np.frombuffer(stamped, np.uint64).reshape(-1, RECORD_WORDS)
        words[:, WORD_CLIENT] = self._session.client_id
        words[:, WORD_SEQUENCE] = sequences
        return Piece(stamped, parts, parts_at, waiters)

    def _make_frame(self, piece: Piece, traceparent: str | None = None) -> BatchFrame:
        return BatchFrame(
            self._session.take_frame_id(),
            piece.records,
            piece.parts,
            piece.parts_at,
            piece.waiters,
            traceparent=self._traceparent() if traceparent is None else traceparent,
            ended=self._frame_ended,
            bisect=self._bisect,
        )

    def _frame_ended(self) -> None:
        if self._gathering.records and not self._awaits_window and self._window.frames < self._eager_frames:
            # After the coroutines that this answer woke, so that what they submit next comes along.
            self._loop.call_soon(self._flush)

    def _bisect(self, frame: BatchFrame, middle: int) -> None:
        """Send a refused frame again as two, under the same ids, until the refused transactions are alone."""
        for piece in frame.split(middle):
            half = self._make_frame(piece, frame.traceparent)
            half.deadline = frame.deadline
            self._window.enter(half.count)  # whether or not there is room: this is no new work
            self._stream.send(half)

    def _give_up(self, due: set[Waiter]) -> None:
        """The time of these is over: those that gather are withdrawn, and what is on the wire goes on without them."""
        gathered = due.intersection(self._gathering.waiters)
        if gathered:
            self._gathering.withdraw(gathered)
            _fail(gathered, no_place())
            self._turns.wake(self.size_max)
        due -= gathered
        if not due:
            return
        for frame in list(self._stream.unanswered):
            if not isinstance(frame, BatchFrame) or due.isdisjoint(frame.waiters):
                continue
            if all(waiter in due or waiter.done() for waiter in frame.waiters):
                self._stream.give_up(frame, "no answer in time")
            else:
                self._stream.all_known = False
                frame.give_up(due, "no answer in time")

    def _check_open(self) -> None:
        if self._closed:
            raise ClientClosed(CLOSED)


def _fail(waiters: Collection[Waiter], error: Exception) -> None:
    if not isinstance(error, PenstockError):
        error = PenstockError(f"the client could not send it, and nothing took effect: {error!r}")
    for waiter in waiters:
        if not waiter.done():
            waiter.set_exception(error)
