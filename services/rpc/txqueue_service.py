"""The way in: frames from gRPC to the ring, receipts from the pipeline back to gRPC.

Frames come as raw bytes and are never turned into a protobuf object (see ``penstock.contract.frame_codec``); Python
runs a few times per frame and never per transaction.
"""

import asyncio
from typing import Any, Final

import grpc

from penstock.contract.frame_codec import MalformedFrame, locate_frame
from penstock.contract.record import RECORD_BYTES
from penstock.v1 import txqueue_pb2
from pooling.core.object_pool import ObjectPool
from services.admission.frame_validator import FrameRefused, FrameValidator
from services.admission.state_capacity import StateCapacity
from services.pipeline.pending_frames import Deliver, PendingFrames
from services.rpc import transaction_codec as spelled
from services.rpc.handlers import service_handler, unary_method
from services.rpc.refusal import Context, Reason, Refusal, abort
from services.rpc.submit_stream import SubmitStream
from services.settings.model import AdmissionSettings
from services.telemetry.counters import Counter, Counters
from txqueue.queue import LockFreeTxQueue

SERVICE: Final = "penstock.v1.TxQueueService"


class TxQueueService:
    """``penstock.v1.TxQueueService`` over one ring producer."""

    def __init__(
        self,
        queue: LockFreeTxQueue,
        admission: FrameValidator,
        pending_frames: PendingFrames,
        counters: Counters,
        settings: AdmissionSettings,
        transactions: ObjectPool[Any],
        state_capacity: StateCapacity,
    ) -> None:
        """Admit frames through ``admission`` while there is ``state_room``; ``transactions`` lends single records."""
        self._queue = queue
        self._admission = admission
        self._pending_frames = pending_frames
        self._counters = counters
        self._settings = settings
        self._transactions = transactions
        self._state_capacity = state_capacity
        self._closed: Refusal | None = None
        self._streams: set[SubmitStream] = set()

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
                "Submit": unary_method(self.submit, txqueue_pb2.SubmitRequest),
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
            await abort(context, self._bad_frame(error, "transaction"))
        receipt = await self._submit(frame.SerializeToString(), context, "transaction")
        return spelled.response_of(txqueue_pb2.SubmitFrameResponse.FromString(receipt))

    async def submit_frame(self, message: bytes, context: Context) -> bytes:
        """Submit one frame and wait for its receipt."""
        return await self._submit(message, context, "records[{}]")

    async def _submit(self, message: bytes, context: Context, place: str) -> bytes:
        """Submit a frame whose records the caller knows as ``place`` with their number in it."""
        answer: asyncio.Future[bytes | Refusal] = asyncio.get_running_loop().create_future()

        def deliver(_: int, outcome: bytes | Refusal) -> None:
            if not answer.done():
                answer.set_result(outcome)

        self._arrived(message)
        try:
            refused = self._refusal()
            if refused is None and len(self._pending_frames) >= self._settings.in_flight_frames_max:
                refused = self._busy(Reason.IN_FLIGHT_LIMIT)
            if refused is None and (full := self._admit(message, deliver, _traceparent_of(context))):
                refused = self._busy(full)
        except (MalformedFrame, FrameRefused) as error:
            refused = self._bad_frame(error, place)
        outcome = refused or await answer
        if isinstance(outcome, Refusal):
            await abort(context, outcome)
        return outcome

    async def submit_stream(self, _: object, context: Context) -> None:
        """Take frames and give receipts until the client closes its side or the node shuts down."""
        if self._closed is not None:
            await abort(context, self._closed)
        stream = SubmitStream(context, self._settings.stream_in_flight_frames_max)
        self._streams.add(stream)
        self._counters.add(Counter.STREAMS_OPENED)
        reader = asyncio.create_task(self._read(stream, _traceparent_of(context)))
        try:
            await stream.write_receipts()
        finally:
            self._streams.discard(stream)
            self._counters.add(Counter.STREAMS_CLOSED)
            reader.cancel()

    async def _read(self, stream: SubmitStream, traceparent: str) -> None:
        """Admit a stream's frames one after the other; reading no further is what pushes back on its client."""
        try:
            async for message in stream.frames():
                self._arrived(message)
                try:
                    while (refused := self._refusal()) is None:
                        full = self._admit(message, stream.deliver, traceparent)
                        if full is Reason.QUEUE_FULL:
                            await self._pending_frames.progress()
                            continue
                        refused = self._busy(full) if full else None
                        break
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

    def _busy(self, reason: Reason) -> Refusal:
        self._counters.add(Counter.FRAMES_REFUSED_BUSY)
        return Refusal.of(reason, retry_after_ms=self._settings.retry_after_ms)

    def _admit(self, message: bytes, deliver: Deliver, traceparent: str) -> Reason | None:
        """Publish a frame to the ring, or say what there is no room in: QUEUE_FULL passes, STATE_FULL does not."""
        fields = locate_frame(message)
        records = fields.records_length // RECORD_BYTES
        if not self._state_capacity.fits(records, fields.payloads_length):
            # Frames under way count at their worst: only without any is it sure that there is no room.
            return Reason.QUEUE_FULL if len(self._pending_frames) else Reason.STATE_FULL
        token = self._pending_frames.register(
            fields.frame_id, deliver, fields.traceparent or traceparent, records, fields.payloads_length
        )
        published = False
        try:
            published, wake = self._admission.admit(message, fields, token)
        finally:
            if not published:
                self._pending_frames.unregister(token)
        if wake:
            self._queue.wake()
        if not published:
            return Reason.QUEUE_FULL
        self._counters.add(Counter.FRAMES_ENQUEUED)
        self._counters.add(Counter.TRANSACTIONS_ENQUEUED, records)
        return None

    def _bad_frame(self, error: MalformedFrame | FrameRefused, place: str = "records[{}]") -> Refusal:
        self._counters.add(Counter.FRAMES_REFUSED_INVALID)
        if isinstance(error, MalformedFrame):
            return Refusal.bad_request("FRAME_MALFORMED", "frame", str(error))
        field = error.fault.field
        if error.record_index is not None:
            field = f"{place.format(error.record_index)}.{field}"
        return Refusal.bad_request(error.fault.reason, field, str(error))


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
