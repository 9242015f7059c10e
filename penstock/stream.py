"""One SubmitStream call, kept open: frames out, receipts in, and everything unanswered sent again when the call breaks.

Sending again is safe because a frame keeps its client id and sequences: a node that has applied it before answers with
the first result and changes nothing. So any break that may pass is met the same way: wait (backoff with full jitter),
open a new call, send all unanswered frames in their order. Only time ends this, frame by frame
(``RetryOptions.deadline_s``), or an error that would meet every new call as well.
"""

import asyncio
from collections import deque
from contextlib import suppress
from typing import Final

from grpc import aio

from penstock.backoff import Backoff
from penstock.errors import Refused, ServerError, Unavailable
from penstock.frame import Frame
from penstock.options import RetryOptions
from penstock.refusals import IN_DOUBT, LASTING, refusal_of_call, refusal_of_frame
from penstock.v1.txqueue_pb2 import FrameError, SubmitStreamResponse

METHOD: Final = "/penstock.v1.TxQueueService/SubmitStream"

Call = aio.StreamStreamCall[bytes, SubmitStreamResponse]


class SubmitStream:
    """Sends frames in order and tells each its receipt or its error. For one event loop; does not bound what is in
    flight."""

    def __init__(self, channel: aio.Channel, options: RetryOptions) -> None:
        self._open: aio.StreamStreamMultiCallable[bytes, SubmitStreamResponse] = channel.stream_stream(
            METHOD, request_serializer=None, response_deserializer=SubmitStreamResponse.FromString
        )
        self._loop = asyncio.get_running_loop()
        self._options = options
        self._unanswered: dict[int, Frame] = {}
        """By frame_id, in the order of sending, which is also that of the deadlines."""
        self._outgoing: deque[Frame] = deque()
        self._writable = asyncio.Event()
        self._occupied = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._pressure = Backoff(options)
        self._held_back = False
        """A node pushed back: nothing leaves until the pause is over."""
        self._expiry: asyncio.TimerHandle | None = None
        self._connection = self._loop.create_task(self._stay_connected(), name="penstock submit stream")

    def send(self, frame: Frame) -> None:
        """Hands a frame over; ``complete`` or ``fail`` of the frame is called once, later."""
        assert frame.frame_id not in self._unanswered
        frame.deadline = self._loop.time() + self._options.deadline_s
        self._unanswered[frame.frame_id] = frame
        self._outgoing.append(frame)
        self._occupied.set()
        self._idle.clear()
        if not self._held_back:
            self._writable.set()
        if self._expiry is None:
            self._expiry = self._loop.call_at(frame.deadline, self._expire)

    async def close(self) -> None:
        """Returns when every frame has been answered or given up, and the call has ended."""
        await self._idle.wait()
        self._connection.cancel()
        with suppress(asyncio.CancelledError):
            await self._connection
        if self._expiry is not None:
            self._expiry.cancel()

    async def _stay_connected(self) -> None:
        backoff = Backoff(self._options)
        while True:
            await self._occupied.wait()
            self._outgoing = deque(self._unanswered.values())
            self._writable.set()
            self._held_back = False
            call = self._open()
            writer = self._loop.create_task(self._write(call), name="penstock frame writer")
            try:
                answered, error = await self._read(call)
            finally:
                writer.cancel()
                call.cancel()
            if answered:
                backoff.reset()
            self._broke(error)
            await asyncio.sleep(backoff.next_s(error.retry_delay_s))

    async def _write(self, call: Call) -> None:
        with suppress(aio.AioRpcError, asyncio.InvalidStateError):  # the reader sees why the call ended
            await call.wait_for_connection()  # nothing counts as written, hence as in doubt, to a node never reached
            while True:
                await self._writable.wait()
                while self._outgoing and not self._held_back:
                    frame = self._outgoing.popleft()
                    if frame.frame_id in self._unanswered:
                        frame.written = True
                        await call.write(frame.message)
                self._writable.clear()

    async def _read(self, call: Call) -> tuple[bool, Refused]:
        """Takes receipts until the call ends; says whether there were any, and why it ended."""
        answered = False
        try:
            async for response in call:
                answered = True
                self._take(response)
        except aio.AioRpcError as error:
            return answered, refusal_of_call(error)
        return answered, Unavailable("the node ended the stream", code=14)

    def _take(self, response: SubmitStreamResponse) -> None:
        frame = self._unanswered.get(response.frame_id)
        if frame is None:  # given up before, or answered on an earlier call
            return
        frame.written = False
        if response.HasField("error"):
            self._refused(frame, response.error)
            return
        self._pressure.reset()
        self._forget(frame)
        frame.complete(response)

    def _refused(self, frame: Frame, error: FrameError) -> None:
        frame.obstacle = refusal_of_frame(error)
        frame.in_doubt |= frame.obstacle.reason in IN_DOUBT or isinstance(frame.obstacle, ServerError)
        if isinstance(frame.obstacle, LASTING):
            self._forget(frame)
            frame.refuse(frame.unanswered("refused when sent again"))
            return
        self._outgoing.append(frame)
        if not self._held_back:
            self._held_back = True
            self._loop.call_later(self._pressure.next_s(frame.obstacle.retry_delay_s), self._release)

    def _release(self) -> None:
        """Ends a pause. What was refused goes first: were it overtaken for long, its sequences would fall out of the
        window."""
        self._held_back = False
        self._outgoing = deque(sorted(self._outgoing, key=lambda frame: frame.frame_id))
        self._writable.set()

    def _broke(self, error: Refused) -> None:
        """The call ended: what was on the wire is in doubt, and where no new call could fare better all is given up."""
        for frame in list(self._unanswered.values()):
            frame.in_doubt |= frame.written
            frame.written = False
            frame.obstacle = error
            if isinstance(error, LASTING):
                self._forget(frame)
                frame.fail(frame.unanswered("the stream was refused"))

    def _forget(self, frame: Frame) -> None:
        del self._unanswered[frame.frame_id]
        if not self._unanswered:
            self._occupied.clear()
            self._idle.set()

    def _expire(self) -> None:
        self._expiry = None
        now = self._loop.time()
        for frame in list(self._unanswered.values()):
            if frame.deadline > now:
                self._expiry = self._loop.call_at(frame.deadline, self._expire)
                return
            self._forget(frame)
            frame.fail(frame.unanswered(f"waited {self._options.deadline_s:g} s"))
