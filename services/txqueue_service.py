"""The way in: frames from gRPC to the ring, receipts from the pipeline back to gRPC.

Frames come as raw bytes and are never turned into a protobuf object (see ``services.wire``); Python runs a few times
per frame and never per transaction.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import grpc

from penstock.v1 import txqueue_pb2
from pooling.object_pool import ObjectPool
from services import spelled
from services.admission import Admission, FrameRefused
from services.counters import Counter, Counters
from services.errors import Context, Reason, Refusal, abort
from services.frame_stream import FrameStream
from services.receipts import Deliver, Receipts
from services.server import service_handler
from services.settings import AdmissionSettings
from services.wire import MalformedFrame, locate_frame
from txqueue.queue import LockFreeTxQueue
from txqueue.record import RECORD_BYTES

SERVICE: Final = "penstock.v1.TxQueueService"


class TxQueueService:
    """``penstock.v1.TxQueueService`` over one ring producer."""

    def __init__(
        self,
        queue: LockFreeTxQueue,
        admission: Admission,
        receipts: Receipts,
        counters: Counters,
        settings: AdmissionSettings,
        transactions: ObjectPool[Any],
        state_is_full: Callable[[], bool],
    ) -> None:
        """Admit frames through ``admission`` while the tables have room; ``transactions`` lends single records."""
        self._queue = queue
        self._admission = admission
        self._receipts = receipts
        self._counters = counters
        self._settings = settings
        self._transactions = transactions
        self._state_is_full = state_is_full
        self._closed: Refusal | None = None
        self._streams: set[FrameStream] = set()

    def close(self, why: Refusal) -> None:
        """Refuse new frames; streams answer what they had accepted, then end."""
        self._closed = why
        for stream in self._streams:
            stream.end()

    def handler(self) -> grpc.ServiceRpcHandler:
        """The service's methods, frames as bytes."""
        return service_handler(
            SERVICE,
            {
                "Submit": grpc.unary_unary_rpc_method_handler(
                    self.submit,
                    request_deserializer=txqueue_pb2.SubmitRequest.FromString,
                    response_serializer=txqueue_pb2.SubmitResponse.SerializeToString,
                ),
                "SubmitFrame": grpc.unary_unary_rpc_method_handler(self.submit_frame),
                "SubmitStream": grpc.stream_stream_rpc_method_handler(self.submit_stream),
            },
        )

    async def submit(self, request: txqueue_pb2.SubmitRequest, context: Context) -> txqueue_pb2.SubmitResponse:
        """Submit one transaction that is spelled out in fields."""
        try:
            with self._transactions.lend() as row:
                frame = spelled.frame_of(request.transaction, row)
        except FrameRefused as error:
            await abort(context, self._bad_frame(error))
        receipt = await self.submit_frame(frame.SerializeToString(), context)
        return spelled.response_of(txqueue_pb2.SubmitFrameResponse.FromString(receipt))

    async def submit_frame(self, message: bytes, context: Context) -> bytes:
        """Submit one frame and wait for its receipt."""
        answer: asyncio.Future[bytes | Refusal] = asyncio.get_running_loop().create_future()

        def deliver(_: int, outcome: bytes | Refusal) -> None:
            if not answer.done():
                answer.set_result(outcome)

        self._arrived(message)
        try:
            refused = self._refusal()
            if refused is None and len(self._receipts) >= self._settings.in_flight_frames_max:
                refused = self._busy(Reason.IN_FLIGHT_LIMIT)
            if refused is None and not self._admit(message, deliver, _traceparent_of(context)):
                refused = self._busy(Reason.QUEUE_FULL)
        except (MalformedFrame, FrameRefused) as error:
            refused = self._bad_frame(error)
        outcome = refused or await answer
        if isinstance(outcome, Refusal):
            await abort(context, outcome)
        return outcome

    async def submit_stream(self, _: object, context: Context) -> None:
        """Take frames and give receipts until the client closes its side or the node shuts down."""
        if self._closed is not None:
            await abort(context, self._closed)
        stream = FrameStream(context, self._settings.stream_in_flight_frames_max)
        self._streams.add(stream)
        self._counters.add(Counter.STREAMS_OPENED)
        reader = asyncio.create_task(self._read(stream, _traceparent_of(context)))
        try:
            await stream.write_receipts()
        finally:
            self._streams.discard(stream)
            self._counters.add(Counter.STREAMS_CLOSED)
            reader.cancel()

    async def _read(self, stream: FrameStream, traceparent: str) -> None:
        """Admit a stream's frames one after the other; reading no further is what pushes back on its client."""
        try:
            async for message in stream.frames():
                self._arrived(message)
                try:
                    while (refused := self._refusal()) is None:
                        if self._admit(message, stream.deliver, traceparent):
                            break
                        await self._receipts.progress()
                except (MalformedFrame, FrameRefused) as error:
                    refused = self._bad_frame(error)
                if refused is not None:
                    stream.deliver(_frame_id_of(message), refused)
        finally:
            stream.end()

    def _arrived(self, message: bytes) -> None:
        self._counters.add(Counter.FRAMES_RECEIVED)
        self._counters.add(Counter.BYTES_RECEIVED, len(message))

    def _refusal(self) -> Refusal | None:
        """Say why no frame at all is taken at the moment, if so."""
        if self._closed is not None:
            self._counters.add(Counter.FRAMES_REFUSED_UNAVAILABLE)
            return self._closed
        return self._busy(Reason.STATE_FULL) if self._state_is_full() else None

    def _busy(self, reason: Reason) -> Refusal:
        self._counters.add(Counter.FRAMES_REFUSED_BUSY)
        return Refusal.of(reason, retry_after_ms=self._settings.retry_after_ms)

    def _admit(self, message: bytes, deliver: Deliver, traceparent: str) -> bool:
        """Publish a frame to the ring; returns False where the ring is full."""
        fields = locate_frame(message)
        token = self._receipts.expect(fields.frame_id, deliver, fields.traceparent or traceparent)
        published = False
        try:
            published, wake = self._admission.admit(message, fields, token)
        finally:
            if not published:
                self._receipts.forget(token)
        if wake:
            self._queue.wake()
        if published:
            self._counters.add(Counter.FRAMES_ENQUEUED)
            self._counters.add(Counter.TRANSACTIONS_ENQUEUED, fields.records_length // RECORD_BYTES)
        return published

    def _bad_frame(self, error: MalformedFrame | FrameRefused) -> Refusal:
        self._counters.add(Counter.FRAMES_REFUSED_INVALID)
        if isinstance(error, MalformedFrame):
            return Refusal.bad_request("FRAME_MALFORMED", "frame", str(error))
        place = (
            error.fault.field if error.record_index is None else f"records[{error.record_index}].{error.fault.field}"
        )
        return Refusal.bad_request(error.fault.reason, place, str(error))


def _frame_id_of(message: bytes) -> int:
    try:
        return locate_frame(message).frame_id
    except MalformedFrame:
        return 0


def _traceparent_of(context: Context) -> str:
    """Find the caller's W3C trace context, where it is sampled."""
    for key, value in context.invocation_metadata() or ():
        if key == "traceparent" and isinstance(value, str) and value.endswith("-01"):
            return value
    return ""
