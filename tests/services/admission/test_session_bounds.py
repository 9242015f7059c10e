"""A node that is started with other bounds on sessions than its log has in force has the log take them, once."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from penstock.contract import opcode
from penstock.contract.reasons import Reason
from penstock.contract.record import RECORD
from services.admission.session_bounds import TAKEN_S_MAX, BoundsNotTaken, put_into_force
from services.pipeline.pending_frames import PendingFrames
from services.refusal import Refusal
from services.telemetry.counters import Counter, Counters
from statestore.session_bounds import SessionBounds
from statestore.state_machine import StateMachine
from tests import virtual_time
from txqueue.queue import LockFreeTxQueue

IN_FORCE = SessionBounds(10, 3_600_000_000_000, 1000)
WANTED = SessionBounds(20, 60_000_000_000, 500)


class Bench:
    """A ring, a state, and whoever waits for answers; the test is the pipeline between them."""

    def __init__(self, queue: LockFreeTxQueue, state: StateMachine) -> None:
        self.queue, self.state = queue, state
        self.counters = Counters()
        self.pending_frames = PendingFrames(asyncio.get_running_loop(), self.counters)

    def put(self, wanted: SessionBounds) -> "asyncio.Task[None]":
        producer = self.queue.register()
        return asyncio.create_task(
            put_into_force(wanted, self.state, producer, self.pending_frames, self.counters, lambda: "writing for 9 s")
        )

    async def taken(self) -> tuple[np.ndarray, np.ndarray]:
        """Records and frames of what was published."""
        body, frames = np.empty(1 << 16, np.uint8), np.empty((8, 4), np.uint64)
        await asyncio.sleep(0)
        batch = self.queue.dequeue_exclusive_batch(body, frames)
        return body[: batch.count * 64], frames[: batch.frames]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    with (
        LockFreeTxQueue.create(None, slots=16, producers=2) as queue,
        StateMachine(bytes_max=16 << 20, session_bounds=IN_FORCE) as state,
    ):
        yield Bench(queue, state)


async def test_bounds_that_are_in_force_take_no_transaction(bench: Bench) -> None:
    await bench.put(IN_FORCE)
    assert len((await bench.taken())[1]) == 0


async def test_other_bounds_are_in_force_before_anything_else_is_admitted(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    putting = bench.put(WANTED)
    body, frames = await bench.taken()
    assert body.view(RECORD)["operation"].tolist() == [opcode.SET_SESSION_BOUNDS]
    assert not putting.done()
    results = np.zeros(1, np.uint8)
    bench.state.apply(body, 1, 0, 0, 1, 1, results)
    bench.pending_frames.complete(frames, 1, 0, results.tobytes())
    await putting
    assert bench.state.session_bounds == WANTED
    assert f"changed from {IN_FORCE} to {WANTED}" in caplog.text
    assert bench.counters[Counter.TRANSACTIONS_ENQUEUED] == bench.counters[Counter.TRANSACTIONS_ANSWERED] == 1


async def test_a_log_without_room_is_no_reason_not_to_start(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    putting = bench.put(WANTED)
    _, frames = await bench.taken()
    bench.pending_frames.refuse(frames, Refusal(Reason.LOG_FULL))
    await putting
    assert "bounds on sessions stay" in caplog.text


def test_a_log_that_does_not_answer_fails_the_start_in_bounded_time_and_says_what_hangs() -> None:
    async def put() -> None:
        started_s = asyncio.get_running_loop().time()
        with (
            LockFreeTxQueue.create(None, slots=16, producers=2) as queue,
            StateMachine(bytes_max=16 << 20, session_bounds=IN_FORCE) as state,
        ):
            bench = Bench(queue, state)
            putting = bench.put(WANTED)
            _, frames = await bench.taken()
            with pytest.raises(BoundsNotTaken, match=r"within 30 s \(writing for 9 s\): check the disk"):
                await putting
            assert asyncio.get_running_loop().time() - started_s == TAKEN_S_MAX
            assert len(bench.pending_frames) == 0, "a stop waits for nothing"
            bench.pending_frames.refuse(frames, Refusal(Reason.NODE_FAILED))
            await asyncio.sleep(0)

    virtual_time.run(put())


async def test_a_start_that_is_cancelled_waits_for_no_answer_and_one_that_comes_harms_nobody(bench: Bench) -> None:
    putting = bench.put(WANTED)
    _, frames = await bench.taken()
    putting.cancel()
    bench.pending_frames.refuse_all(Refusal(Reason.SHUTTING_DOWN))
    with pytest.raises(asyncio.CancelledError):
        await putting
    assert len(bench.pending_frames) == 0
    bench.pending_frames.refuse(frames, Refusal(Reason.NODE_FAILED))
    await asyncio.sleep(0)
