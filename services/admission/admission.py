"""Admission: decides on every frame, and publishes those that are admitted to the ring."""

from collections.abc import Callable
from enum import Enum
from typing import Final, Protocol

from penstock.contract.frame_codec import FrameFields, MalformedFrame, locate_frame
from penstock.contract.reasons import Reason
from penstock.contract.record import RECORD_BYTES
from services.admission.frame_validator import Publication
from services.pipeline.pending_frames import Deliver, PendingFrames
from services.refusal import Refusal
from services.telemetry.conditions import Condition, Conditions
from services.telemetry.counters import Counter, Counters


class Busy(Enum):
    """Why a frame is not admitted at the moment; each passes when frames under way are answered."""

    QUEUE_FULL = Reason.QUEUE_FULL
    IN_FLIGHT_LIMIT = Reason.IN_FLIGHT_LIMIT


class Validator(Protocol):
    """What admission asks of a `services.admission.frame_validator.FrameValidator`."""

    def check_size(self, fields: FrameFields) -> Refusal | None:
        """Say what is wrong with a frame's size."""

    def publish(self, message: bytes, fields: FrameFields, token: int) -> Publication | Refusal:
        """Publish a frame to the ring, or say what is wrong with its records."""


class Capacity(Protocol):
    """What admission asks of a `services.admission.state_capacity.StateCapacity`."""

    def fits(self, records: int, payload_bytes: int) -> bool:
        """Whether the state is certain to hold a frame of this size."""


class Admission:
    """Admits frames until it is closed. Lives in the event loop; never blocks."""

    def __init__(
        self,
        validator: Validator,
        capacity: Capacity,
        pending_frames: PendingFrames,
        counters: Counters,
        wake_consumer: Callable[[], None],
        *,
        in_flight_frames_max: int,
        conditions: Conditions,
    ) -> None:
        """Admit frames while fewer than ``in_flight_frames_max`` are unanswered.

        Args:
            validator: publishes to the ring.
            capacity: of the state's tables.
            pending_frames: where admitted frames wait for their answers.
            counters: of frames and transactions, admitted and refused.
            wake_consumer: called where a frame was published while the ring's consumer slept.
            in_flight_frames_max: unanswered frames of the whole node.
            conditions: where full tables are told of.
        """
        self._validator = validator
        self._capacity = capacity
        self._pending_frames = pending_frames
        self._counters = counters
        self._wake_consumer = wake_consumer
        self._in_flight_frames_max: Final = in_flight_frames_max
        self._conditions = conditions
        self._closed: Refusal | None = None

    @property
    def closed(self) -> Refusal | None:
        """Why no frame is admitted any more, if so."""
        return self._closed

    def close(self, why: Refusal) -> None:
        """Refuse all frames from now on, and those that wait to be tried again."""
        self._closed = why
        self._pending_frames.wake()

    def admit(self, message: bytes, deliver: Deliver, traceparent: str) -> int | Refusal | Busy:
        """Publish the frame in ``message`` to the ring, if it may be.

        Args:
            message: an encoded SubmitFrameRequest or SubmitStreamRequest.
            deliver: gets the frame's answer, if it is admitted.
            traceparent: of the frame's submitter, where it is sampled and the frame names none.

        Returns:
            The token of the admitted frame, why it is refused, or why it has to wait. Unless it is admitted, nothing of
            it was taken and nobody will answer it.
        """
        if self._closed is not None:
            self._counters.add(Counter.FRAMES_REFUSED_UNAVAILABLE)
            return self._closed
        if len(self._pending_frames) >= self._in_flight_frames_max:
            return Busy.IN_FLIGHT_LIMIT
        try:
            fields = locate_frame(message)
        except MalformedFrame as error:
            return self._invalid(Refusal(Reason.FRAME_MALFORMED, str(error), field="frame"))
        refusal = self._validator.check_size(fields)
        if refusal is not None:
            return self._invalid(refusal)
        records = fields.records_length // RECORD_BYTES
        if not self._capacity.fits(records, fields.payloads_length):
            if len(self._pending_frames):  # which count at their worst: the frame may fit once they are answered
                return Busy.QUEUE_FULL
            self._counters.add(Counter.FRAMES_REFUSED_BUSY)
            self._conditions.set(Condition.TABLES_FULL)
            return Refusal(Reason.STATE_FULL)
        token = self._pending_frames.register(
            fields.frame_id, deliver, fields.traceparent or traceparent, records, fields.payloads_length
        )
        outcome: Publication | Refusal = Publication.RING_FULL
        try:
            outcome = self._validator.publish(message, fields, token)
        finally:
            if outcome is Publication.RING_FULL or isinstance(outcome, Refusal):
                self._pending_frames.unregister(token)
        if isinstance(outcome, Refusal):
            return self._invalid(outcome)
        if outcome is Publication.RING_FULL:
            return Busy.QUEUE_FULL
        if outcome is Publication.PUBLISHED_TO_SLEEPER:
            self._wake_consumer()
        self._counters.add(Counter.FRAMES_ENQUEUED)
        self._counters.add(Counter.TRANSACTIONS_ENQUEUED, records)
        return token

    def _invalid(self, refusal: Refusal) -> Refusal:
        self._counters.add(Counter.FRAMES_REFUSED_INVALID)
        return refusal
