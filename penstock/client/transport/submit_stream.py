"""Submit stream: one open SubmitStream call that carries frames and receipts, and is replaced where it breaks.

Sending a frame again is safe because it keeps its client id and sequences: a node that has applied it answers with the
first result and changes nothing. So every temporary failure is handled the same way: wait (backoff with full jitter),
open a new call, and send all unanswered frames again in their order. A frame is given up at its deadline
(``RetryOptions.deadline_s``), or at an error that every new call would meet.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from random import Random
from typing import Final

import grpc
from grpc import aio

from penstock.client.connection.connection import Connection
from penstock.client.errors import OutcomeUnknown, PenstockError, Refused, ServerError, Unavailable
from penstock.client.options import RetryOptions
from penstock.client.transport.error_mapping import IN_DOUBT, PERMANENT, error_of_call, error_of_frame
from penstock.client.transport.flow_window import FlowWindow
from penstock.client.transport.frame import Frame
from penstock.v1.txqueue_pb2 import SubmitStreamResponse

_logger: Final = logging.getLogger("penstock.client")

METHOD: Final = "/penstock.v1.TxQueueService/SubmitStream"

CLOSE_S: Final = 1.0
"""How long a closing client waits for the node to end the call."""

LISTEN_S: Final = 0.05
"""grpc.aio reports INTERNAL in place of the node's own status where a write met a call that had just ended. The next
call waits this long before it writes, so that the reason is seen if the node ends it at once again."""

Call = aio.StreamStreamCall[bytes, SubmitStreamResponse]


class SubmitStream:
    """Sends frames in order, and gives each its receipt or its error. For one event loop.

    The caller enters the window before it sends; the stream leaves it for each frame that is answered or given up.
    """

    def __init__(
        self,
        channel: aio.Channel,
        options: RetryOptions,
        window: FlowWindow,
        random: Random,
        connection: Connection,
    ) -> None:
        self._open: aio.StreamStreamMultiCallable[bytes, SubmitStreamResponse] = channel.stream_stream(
            METHOD, request_serializer=None, response_deserializer=SubmitStreamResponse.FromString
        )
        self._loop = asyncio.get_running_loop()
        self._options = options
        self._random = random
        self._window = window
        self._connection = connection
        self.all_known = True
        """No frame has ended with its outcome unknown."""
        self._unanswered: dict[int, Frame] = {}
        """By frame_id, in the order of sending."""
        self._outgoing: deque[Frame] = deque()
        self._writable = asyncio.Event()
        self._has_unanswered = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._pushback = options.backoff(random)
        self._pause: asyncio.TimerHandle | None = None
        """The node pushed back: nothing is sent until this timer ends."""
        self._expiry: asyncio.TimerHandle | None = None
        self._call: Call | None = None
        self._ended = asyncio.Event()
        self._staying = self._loop.create_task(self._stay_connected(), name="penstock submit stream")

    def send(self, frame: Frame) -> None:
        """Send a frame; its ``complete`` or ``fail`` is called once, later.

        Its deadline, if it has none yet, is ``deadline_s`` from now.
        """
        assert frame.frame_id not in self._unanswered
        frame.deadline = frame.deadline or self._loop.time() + self._options.deadline_s
        self._unanswered[frame.frame_id] = frame
        self._outgoing.append(frame)
        self._has_unanswered.set()
        self._idle.clear()
        if self._pause is None:
            self._writable.set()
        if self._expiry is None or frame.deadline < self._expiry.when():
            self._expire_at(frame.deadline)

    @property
    def unanswered(self) -> Iterable[Frame]:
        """The frames that are neither answered nor given up."""
        return self._unanswered.values()

    def give_up(self, frame: Frame, cause: str) -> None:
        """Nobody waits for a frame any longer: where it may have been written, it goes on until its deadline."""
        if frame.frame_id not in self._unanswered:
            return
        error = frame.unanswered(cause)
        if not isinstance(error, OutcomeUnknown):
            self._forget(frame)
        self._fail(frame, error)

    @property
    def is_open(self) -> bool:
        """Whether there is a call to write to."""
        return self._call is not None

    def _fail(self, frame: Frame, error: PenstockError) -> None:
        self.all_known &= not isinstance(error, OutcomeUnknown)
        frame.fail(error)

    async def wait_until_idle(self) -> None:
        """Wait until every frame is answered or given up."""
        await self._idle.wait()

    async def close(self) -> None:
        """End the call, which takes ``CLOSE_S`` at most, and give up the frames that are not answered."""
        try:
            if self._call is not None and not self._unanswered:
                # InternalError: the call ended by itself at this very moment, which grpc.aio reports for writes alone.
                with suppress(aio.AioRpcError, aio.InternalError, asyncio.InvalidStateError, TimeoutError):
                    async with asyncio.timeout(CLOSE_S):
                        await self._call.done_writing()  # the node ends the call then
                        await self._ended.wait()
            self._staying.cancel()
            await asyncio.wait([self._staying], timeout=CLOSE_S)
        finally:
            self.abandon()

    def forget_channel(self) -> None:
        """Let go of the channel, which is closed, and of the task whose frames still refer to its call."""
        del self._open, self._staying

    def abandon(self) -> None:
        """Give up all frames, and what would send them."""
        self._staying.cancel()
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        for frame in list(self._unanswered.values()):
            self._forget(frame)
            self._fail(frame, frame.unanswered("the client was closed"))

    async def _stay_connected(self) -> None:
        backoff = self._options.backoff(self._random)
        listen_s = 0.0
        while True:
            await self._has_unanswered.wait()
            self._prepare_call()
            call = self._call = self._open()
            self._ended.clear()
            writer = self._loop.create_task(self._write(call, listen_s), name="penstock frame writer")
            try:
                answered, error = await self._read(call)
            except Exception as failure:  # nobody else would go on for those who wait
                _logger.exception("reading from the node failed")
                answered, error = False, ServerError(str(failure), code=grpc.StatusCode.INTERNAL.value[0])
            finally:
                writer.cancel()
                call.cancel()
                self._call = None
                self._ended.set()
            if answered:
                backoff.reset()
            masked = isinstance(error, ServerError) and not answered
            listen_s = LISTEN_S if masked else 0.0
            self._call_ended(error)
            delay_s = backoff.next_s(error.retry_delay_s)
            self._connection.failed(error, delay_s if self._unanswered else None)
            await asyncio.sleep(delay_s)

    async def _write(self, call: Call, listen_s: float) -> None:
        with suppress(
            aio.AioRpcError, aio.InternalError, asyncio.InvalidStateError
        ):  # the reader sees why the call ended
            await call.wait_for_connection()  # a frame to a node never reached is not in doubt
            self._connection.reached()
            await asyncio.sleep(listen_s)
            while True:
                await self._writable.wait()
                while self._outgoing and self._pause is None:
                    frame = self._outgoing.popleft()
                    if frame.frame_id in self._unanswered:
                        frame.written = True
                        await call.write(frame.message)
                self._writable.clear()

    async def _read(self, call: Call) -> tuple[bool, Refused]:
        """Take receipts until the call ends; returns whether there were any, and why it ended."""
        answered = False
        try:
            async for response in call:
                answered = True
                self._receive(response)
        except aio.AioRpcError as error:
            return answered, error_of_call(error)
        return answered, Unavailable("the node ended the stream", code=grpc.StatusCode.UNAVAILABLE.value[0])

    def _receive(self, response: SubmitStreamResponse) -> None:
        frame = self._unanswered.get(response.frame_id)
        if frame is None:  # given up before, or answered on an earlier call
            return
        frame.written = False
        if response.HasField("error"):
            self._refused(frame, error_of_frame(response.error))
        elif len(response.results) != frame.count:
            cause = f"the receipt holds {len(response.results)} results for {frame.count} transactions"
            self._refused(frame, ServerError(cause, code=grpc.StatusCode.INTERNAL.value[0]))
        else:
            self._pushback.reset()
            self._forget(frame)
            frame.answer(response)

    def _refused(self, frame: Frame, error: Refused) -> None:
        frame.last_error = error
        frame.in_doubt |= error.reason in IN_DOUBT or isinstance(error, ServerError)
        frame.fresh = frame.fresh and not frame.in_doubt
        if isinstance(error, PERMANENT):
            self._forget(frame)
            frame.refuse(frame.unanswered("refused when sent again"))
            return
        self._outgoing.append(frame)
        if self._pause is None:
            self._pause = self._loop.call_later(self._pushback.next_s(error.retry_delay_s), self._end_pause)

    def _end_pause(self) -> None:
        """Send refused frames first: if newer ones overtook them for long, they would fall out of the result window."""
        self._pause = None
        self._outgoing = deque(sorted(self._outgoing, key=lambda frame: frame.frame_id))
        self._writable.set()

    def _prepare_call(self) -> None:
        """Prepare a new call: queue all unanswered frames, and end the pause of the last call."""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        self._outgoing = deque(self._unanswered.values())
        self._writable.set()

    def _call_ended(self, error: Refused) -> None:
        """The call ended: frames on the wire are in doubt, and all are given up where no new call could succeed."""
        for frame in list(self._unanswered.values()):
            frame.in_doubt |= frame.written
            frame.fresh = frame.fresh and not frame.written
            frame.written = False
            frame.last_error = error
            if isinstance(error, PERMANENT):
                self._forget(frame)
                self._fail(frame, frame.unanswered("the stream was refused"))

    def _forget(self, frame: Frame) -> None:
        del self._unanswered[frame.frame_id]
        self._window.leave(frame.count)
        if not self._unanswered:
            self._has_unanswered.clear()
            self._idle.set()

    def _expire(self) -> None:
        self._expiry = None
        now = self._loop.time()
        for frame in [frame for frame in self._unanswered.values() if frame.deadline <= now]:
            self._forget(frame)
            self._fail(frame, frame.unanswered("no answer by its deadline"))
        if self._unanswered:
            self._expire_at(min(frame.deadline for frame in self._unanswered.values()))

    def _expire_at(self, deadline: float) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry = self._loop.call_at(deadline, self._expire)
