"""``penstock.v1.TxQueueService``: frames from gRPC to admission, receipts from the pipeline back to gRPC.

Frames are raw bytes and are never turned into a protobuf object (see ``penstock.contract.frame_codec``); Python runs a
few times per frame and never per transaction.
"""

import asyncio
from dataclasses import replace
from typing import Any, Final

import grpc

from penstock.contract import limits
from penstock.contract.frame_codec import MalformedFrame, locate_frame
from penstock.contract.reasons import Reason
from penstock.v1 import txqueue_pb2
from pooling.core.object_pool import ObjectPool
from services.admission.admission import Admission, Busy
from services.pipeline.pending_frames import PendingFrames
from services.refusal import Refusal
from services.rpc.handlers import ServiceHandler, explain, unary_method
from services.rpc.limits.arriving_messages import ArrivingMessages, MessageCut
from services.rpc.limits.connection import connection_of
from services.rpc.limits.open_calls import OpenCalls
from services.rpc.rich_status import Context, abort
from services.rpc.submit_stream import SubmitStream
from services.rpc.transaction_codec import InvalidTransaction, frame_of, response_of
from services.settings.model import AdmissionSettings
from services.telemetry.counters import Counter, Counters

SERVICE: Final = "penstock.v1.TxQueueService"

_SUBMIT_BYTES_MAX: Final = 2 * limits.PAYLOAD_BYTES_MAX
"""Of one transaction: a payload that is somewhat too large gets the error that names it."""
_WAITING_BYTES_MAX: Final = 128 << 20
"""Frames of all streams that were read and cannot be taken at the moment; more are refused instead of waiting."""


class TxQueueService:
    """Reads frames, has them admitted, and writes their receipts. Lives in the event loop."""

    def __init__(
        self,
        admission: Admission,
        pending_frames: PendingFrames,
        counters: Counters,
        settings: AdmissionSettings,
        transactions: ObjectPool[Any],
        arriving: ArrivingMessages,
    ) -> None:
        """Submit to ``admission``; ``transactions`` lends zeroed ``RECORD[1]`` arrays, ``arriving`` reads."""
        self._admission = admission
        self._pending_frames = pending_frames
        self._counters = counters
        self._settings = settings
        self._transactions = transactions
        self._arriving = arriving
        self._waiting_bytes = 0
        self._streams: set[SubmitStream] = set()
        self._open_streams = OpenCalls(
            "submit streams", calls_max=settings.streams_max, connection_calls_max=settings.connection_streams_max
        )

    def close(self, why: Refusal) -> None:
        """Refuse new frames; streams answer what was admitted, then end."""
        self._admission.close(why)
        for stream in self._streams:
            stream.end()

    def handler(self) -> ServiceHandler:
        """The service's methods, frames as bytes."""
        return ServiceHandler(
            SERVICE,
            {
                "Submit": unary_method(self.submit, txqueue_pb2.SubmitRequest, request_bytes_max=_SUBMIT_BYTES_MAX),
                "SubmitFrame": grpc.unary_unary_rpc_method_handler(self.submit_frame),
                "SubmitStream": grpc.stream_stream_rpc_method_handler(self.submit_stream),
            },
        )

    async def submit(self, request: txqueue_pb2.SubmitRequest, context: Context) -> txqueue_pb2.SubmitResponse:
        """Submit one transaction that is spelled out in fields."""
        try:
            with self._transactions.lend() as row:
                message = frame_of(request.transaction, row).SerializeToString()
        except InvalidTransaction as error:
            self._counters.add(Counter.FRAMES_REFUSED_INVALID)
            await abort(context, error.refusal)
        outcome = await self._submit(message, context)
        if isinstance(outcome, Refusal):
            await abort(context, _of_transaction(outcome))
        return response_of(txqueue_pb2.SubmitFrameResponse.FromString(outcome))

    async def submit_frame(self, message: bytes, context: Context) -> bytes:
        """Submit one frame and wait for its receipt."""
        try:
            outcome = await self._submit(message, context)
            if isinstance(outcome, Refusal):
                await abort(context, outcome)
        except Exception as error:
            await explain(error, context)
        return outcome

    async def _submit(self, message: bytes, context: Context) -> bytes | Refusal:
        """Have a frame admitted and wait for its receipt; a frame that would have to wait is refused."""
        answer: asyncio.Future[bytes | Refusal] = asyncio.get_running_loop().create_future()

        def deliver(_: int, outcome: bytes | Refusal) -> None:
            if not answer.done():
                answer.set_result(outcome)

        self._received(message)
        admitted = self._admission.admit(message, deliver, _traceparent_of(context))
        if isinstance(admitted, Refusal):
            return admitted
        if isinstance(admitted, Busy):
            self._counters.add(Counter.FRAMES_REFUSED_BUSY)
            return Refusal(admitted.value, retry_after_ms=self._settings.retry_after_ms)
        return await answer

    async def submit_stream(self, _: object, context: Context) -> None:
        """Take frames and give receipts until the client closes its side or the node shuts down."""
        try:
            await self._serve_stream(context)
        except Exception as error:
            await explain(error, context)

    async def _serve_stream(self, context: Context) -> None:
        connection = connection_of(context)
        refused = self._admission.closed or self._open_streams.enter(connection)
        if refused is not None:
            await abort(context, refused)
        stream = SubmitStream(context, self._arriving, self._settings.stream_in_flight_frames_max)
        self._streams.add(stream)
        self._counters.add(Counter.STREAMS_OPENED)
        reader = asyncio.create_task(self._read(stream, _traceparent_of(context)))
        try:
            await stream.write_receipts()
        finally:
            self._open_streams.leave(connection)
            self._streams.discard(stream)
            self._counters.add(Counter.STREAMS_CLOSED)
            reader.cancel()

    async def _read(self, stream: SubmitStream, traceparent: str) -> None:
        """Have a stream's frames admitted one after the other; reading no further pushes back on its client."""
        try:
            async for message in stream.frames():
                self._received(message)
                admitted = self._admission.admit(message, stream.deliver, traceparent)
                if isinstance(admitted, Busy):
                    admitted = await self._wait_and_admit(message, stream, traceparent)
                if isinstance(admitted, Refusal):
                    stream.deliver(_frame_id_of(message), admitted)
        except MessageCut as cut:
            stream.cut(cut.refusal)
        except Exception as error:
            stream.fail(error)
        finally:
            stream.end()

    async def _wait_and_admit(self, message: bytes, stream: SubmitStream, traceparent: str) -> int | Refusal:
        """Have a frame admitted once there is room, where frames that wait do not take up too much memory already."""
        if self._waiting_bytes + len(message) > _WAITING_BYTES_MAX:
            self._counters.add(Counter.FRAMES_REFUSED_BUSY)
            return Refusal(Reason.QUEUE_FULL, retry_after_ms=self._settings.retry_after_ms)
        self._waiting_bytes += len(message)
        try:
            while isinstance(admitted := self._admission.admit(message, stream.deliver, traceparent), Busy):
                await self._pending_frames.progress()
        finally:
            self._waiting_bytes -= len(message)
        return admitted

    def _received(self, message: bytes) -> None:
        self._counters.add(Counter.FRAMES_RECEIVED)
        self._counters.add(Counter.BYTES_RECEIVED, len(message))


def _of_transaction(refusal: Refusal) -> Refusal:
    """Name the fields of a spelled-out transaction, which is a frame of one record."""
    return replace(
        refusal,
        detail=refusal.detail.removeprefix("record 0: "),
        field=refusal.field.replace("records[0]", "transaction"),
    )


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
