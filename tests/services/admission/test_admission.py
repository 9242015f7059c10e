"""Admission answers every frame with a token, a refusal or busy, and leaves nothing behind of what it did not admit."""

import asyncio

import numpy as np
import pytest

from penstock.contract.reasons import Reason
from services.admission.admission import Busy
from services.admission.frame_validator import Publication
from services.refusal import Refusal
from services.telemetry.conditions import Condition
from services.telemetry.counters import Counter
from tests.frames import frame, rows
from tests.services.admission.fakes import Bench

MESSAGE = frame(rows(3), frame_id=77).SerializeToString()
MALFORMED = MESSAGE[:-1]


@pytest.fixture
async def bench() -> Bench:
    return Bench()


def assert_nothing_is_left(bench: Bench) -> None:
    assert len(bench.pending_frames) == 0
    assert (bench.pending_frames.records, bench.pending_frames.payload_bytes) == (0, 0)
    assert bench.counters[Counter.FRAMES_ENQUEUED] == 0
    assert bench.counters[Counter.TRANSACTIONS_ENQUEUED] == 0
    assert bench.answers == []
    assert bench.wakes == 0


async def test_an_admitted_frame_is_published_under_its_token_and_waits_for_its_answer(bench: Bench) -> None:
    token = bench.admit(MESSAGE)
    assert [token] == bench.validator.tokens
    assert (len(bench.pending_frames), bench.pending_frames.records) == (1, 3)
    assert bench.counters[Counter.FRAMES_ENQUEUED] == 1
    assert bench.counters[Counter.TRANSACTIONS_ENQUEUED] == 3
    assert bench.wakes == 0
    assert bench.admission.closed is None
    bench.pending_frames.refuse_all(Refusal(Reason.NODE_FAILED))
    assert bench.answers == [(77, Refusal(Reason.NODE_FAILED))]


async def test_a_sleeping_consumer_is_woken(bench: Bench) -> None:
    bench.validator.outcome = Publication.PUBLISHED_TO_SLEEPER
    assert isinstance(bench.admit(MESSAGE), int)
    assert bench.wakes == 1


async def test_a_frame_that_names_no_submitter_has_its_caller_s(bench: Bench) -> None:
    own = frame(rows(1)).SerializeToString() + b"\x22\x03own"
    for message, expected in ((MESSAGE, "caller"), (own, "own")):
        token = bench.admit(message, "caller")
        assert bench.pending_frames.traceparents(np.array([[token, 0, 0, 0]], np.uint64)) == [expected]


async def test_a_full_ring_is_busy(bench: Bench) -> None:
    bench.validator.outcome = Publication.RING_FULL
    assert bench.admit(MESSAGE) is Busy.QUEUE_FULL
    assert_nothing_is_left(bench)
    bench.validator.outcome = Publication.PUBLISHED
    assert isinstance(bench.admit(MESSAGE), int)


async def test_full_tables_are_busy_while_frames_under_way_may_need_less_than_they_might(bench: Bench) -> None:
    bench.capacity.records_max = 5
    bench.admit(MESSAGE)
    assert bench.admit(MESSAGE) is Busy.QUEUE_FULL
    assert bench.conditions.active() == []
    assert len(bench.validator.tokens) == 1, "nothing is published without room for it"


async def test_full_tables_without_a_frame_under_way_are_final(bench: Bench) -> None:
    bench.capacity.records_max = 2
    assert bench.admit(MESSAGE) == Refusal(Reason.STATE_FULL)
    assert [active.condition for active in bench.conditions.active()] == [Condition.TABLES_FULL]
    assert bench.validator.tokens == []
    assert_nothing_is_left(bench)


async def test_a_frame_too_large_is_told_so_even_where_the_tables_are_full(bench: Bench) -> None:
    bench.capacity.records_max = 0
    bench.validator.size_refusal = Refusal(Reason.FRAME_TOO_LARGE, field="records")
    assert bench.admit(MESSAGE) == bench.validator.size_refusal
    assert bench.counters[Counter.FRAMES_REFUSED_INVALID] == 1
    assert_nothing_is_left(bench)


async def test_an_invalid_frame_is_not_registered(bench: Bench) -> None:
    bench.validator.outcome = Refusal(Reason.CHAIN_OPEN, field="records[2].flags")
    assert bench.admit(MESSAGE) == bench.validator.outcome
    assert bench.counters[Counter.FRAMES_REFUSED_INVALID] == 1
    assert_nothing_is_left(bench)


async def test_bytes_that_are_no_frame_are_refused(bench: Bench) -> None:
    refusal = bench.admit(MALFORMED)
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, refusal.field) == (Reason.FRAME_MALFORMED, "frame")
    assert bench.counters[Counter.FRAMES_REFUSED_INVALID] == 1
    assert bench.validator.tokens == []
    assert_nothing_is_left(bench)


async def test_a_validator_that_raises_leaves_nothing_registered(bench: Bench) -> None:
    bench.validator.outcome = MemoryError("unexpected")
    with pytest.raises(MemoryError):
        bench.admit(MESSAGE)
    assert_nothing_is_left(bench)


async def test_frames_beyond_the_limit_in_flight_are_busy_until_one_is_answered() -> None:
    bench = Bench(in_flight_frames_max=1)
    token = bench.admit(MESSAGE)
    assert bench.admit(MESSAGE) is Busy.IN_FLIGHT_LIMIT
    bench.pending_frames.complete(np.array([[token, 0, 3, 0]], np.uint64), 1, 0, b"\1\1\1")
    await bench.pending_frames.progress()
    assert isinstance(bench.admit(MESSAGE), int)
    assert [frame_id for frame_id, _ in bench.answers] == [77]


async def test_a_closed_admission_refuses_everything_and_wakes_who_waits(bench: Bench) -> None:
    waiting = asyncio.create_task(bench.pending_frames.progress())
    await asyncio.sleep(0)
    bench.admission.close(Refusal(Reason.SHUTTING_DOWN))
    await waiting
    assert bench.admission.closed == Refusal(Reason.SHUTTING_DOWN)
    for message in (MESSAGE, MALFORMED):
        assert bench.admit(message) == Refusal(Reason.SHUTTING_DOWN)
    assert bench.counters[Counter.FRAMES_REFUSED_UNAVAILABLE] == 2
    assert bench.validator.tokens == []
    assert_nothing_is_left(bench)
