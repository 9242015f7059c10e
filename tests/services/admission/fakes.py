"""Collaborators of `Admission` that a test sets by hand."""

import asyncio

from penstock.contract.frame_codec import FrameFields
from services.admission.admission import Admission, Busy
from services.admission.frame_validator import Publication
from services.pipeline.pending_frames import PendingFrames
from services.refusal import Refusal
from services.telemetry.conditions import Conditions
from services.telemetry.counters import Counters


class FakeValidator:
    """Answers as it is told, and remembers the tokens that it was to publish."""

    def __init__(self) -> None:
        self.size_refusal: Refusal | None = None
        self.outcome: Publication | Refusal | Exception = Publication.PUBLISHED
        self.tokens: list[int] = []

    def check_size(self, fields: FrameFields) -> Refusal | None:
        return self.size_refusal

    def publish(self, message: bytes, fields: FrameFields, token: int) -> Publication | Refusal:
        self.tokens.append(token)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


class FakeCapacity:
    """Room for so many records, unanswered ones included."""

    def __init__(self, pending_frames: PendingFrames) -> None:
        self.records_max = 1_000_000
        self._pending_frames = pending_frames

    def fits(self, records: int, payload_bytes: int) -> bool:
        return records + self._pending_frames.records <= self.records_max


class Bench:
    """An admission and all that it works with. Made in a running event loop."""

    def __init__(self, in_flight_frames_max: int = 1_000, validator: FakeValidator | None = None) -> None:
        self.counters = Counters()
        self.pending_frames = PendingFrames(asyncio.get_running_loop(), self.counters)
        self.validator = validator or FakeValidator()
        self.capacity = FakeCapacity(self.pending_frames)
        self.conditions = Conditions()
        self.wakes = 0
        self.answers: list[tuple[int, bytes | Refusal]] = []
        self.admission = Admission(
            self.validator,
            self.capacity,
            self.pending_frames,
            self.counters,
            self._wake,
            in_flight_frames_max=in_flight_frames_max,
            conditions=self.conditions,
        )

    def admit(self, message: bytes, traceparent: str = "") -> int | Refusal | Busy:
        return self.admission.admit(message, self._deliver, traceparent)

    def _deliver(self, frame_id: int, outcome: bytes | Refusal) -> None:
        self.answers.append((frame_id, outcome))

    def _wake(self) -> None:
        self.wakes += 1
