"""Frames that wait are answered once, whichever of receipt, refusal and failure comes first."""

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

from penstock.contract.reasons import Reason
from penstock.v1 import txqueue_pb2
from services.pipeline.pending_frames import PendingFrames
from services.refusal import Refusal
from services.telemetry.counters import Counter, Counters

REFUSAL = Refusal(Reason.NODE_FAILED)
RESULTS = bytes(range(1, 9))


class Waiting:
    """Pending frames of the running loop, and the answers that they got."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.frames = PendingFrames(asyncio.get_running_loop(), self.counters)
        self.answers: dict[int, list[bytes | Refusal]] = {}

    def register(self, frame_id: int, traceparent: str = "") -> int:
        return self.frames.register(frame_id, self._deliver, traceparent, records=4, payload_bytes=10)

    def _deliver(self, frame_id: int, answer: bytes | Refusal) -> None:
        self.answers.setdefault(frame_id, []).append(answer)

    def block_of(self, *tokens: int) -> "np.ndarray[tuple[int, int], np.dtype[np.uint64]]":
        return np.array([[token, 4 * row, 4, 10] for row, token in enumerate(tokens)], np.uint64)


@pytest.fixture
async def waiting() -> Waiting:
    return Waiting()


async def test_each_frame_of_a_block_gets_its_own_part_of_the_results(waiting: Waiting) -> None:
    tokens = [waiting.register(frame_id) for frame_id in (70, 71)]
    await asyncio.to_thread(waiting.frames.complete, waiting.block_of(*tokens), 5, 100, RESULTS)
    receipts = {}
    for frame_id, (answer,) in waiting.answers.items():
        assert isinstance(answer, bytes)
        receipts[frame_id] = txqueue_pb2.SubmitStreamResponse.FromString(answer)
    assert [(r.frame_id, r.log_index, r.first_position, r.results) for r in receipts.values()] == [
        (70, 5, 100, RESULTS[:4]),
        (71, 5, 104, RESULTS[4:]),
    ]
    assert waiting.counters[Counter.TRANSACTIONS_ANSWERED] == 8


async def test_records_and_payloads_are_counted_for_exactly_as_long_as_frames_wait(waiting: Waiting) -> None:
    tokens = [waiting.register(frame_id) for frame_id in range(4)]
    assert (len(waiting.frames), waiting.frames.records, waiting.frames.payload_bytes) == (4, 16, 40)
    waiting.frames.complete(waiting.block_of(tokens[0]), 1, 0, RESULTS[:4])
    waiting.frames.refuse(waiting.block_of(tokens[1]), REFUSAL)
    waiting.frames.unregister(tokens[2])
    await asyncio.sleep(0)
    assert (len(waiting.frames), waiting.frames.records, waiting.frames.payload_bytes) == (1, 4, 10)
    waiting.frames.refuse_all(REFUSAL)
    assert (len(waiting.frames), waiting.frames.records, waiting.frames.payload_bytes) == (0, 0, 0)


async def test_a_late_completion_of_a_refused_frame_changes_nothing(waiting: Waiting) -> None:
    token = waiting.register(1)
    waiting.frames.refuse_all(REFUSAL)
    waiting.frames.complete(waiting.block_of(token), 1, 0, RESULTS[:4])
    waiting.frames.refuse(waiting.block_of(token), REFUSAL)
    await asyncio.sleep(0)
    assert waiting.answers == {1: [REFUSAL]}
    assert waiting.frames.records == 0


async def test_a_late_completion_of_an_unregistered_frame_answers_nobody(waiting: Waiting) -> None:
    token, other = waiting.register(1), waiting.register(2)
    waiting.frames.unregister(token)
    waiting.frames.unregister(token)
    waiting.frames.complete(waiting.block_of(token, other), 1, 0, RESULTS)
    await asyncio.sleep(0)
    assert list(waiting.answers) == [2]
    assert (len(waiting.frames), waiting.frames.records) == (0, 0)


async def test_a_token_is_never_used_again(waiting: Waiting) -> None:
    token = waiting.register(1)
    waiting.frames.unregister(token)
    assert waiting.register(2) != token


async def test_drained_waits_for_the_last_answer(waiting: Waiting) -> None:
    tokens = [waiting.register(frame_id) for frame_id in range(2)]
    drained = asyncio.create_task(waiting.frames.drained())
    for token in tokens:
        await asyncio.sleep(0)
        assert not drained.done()
        waiting.frames.complete(waiting.block_of(token), 1, 0, RESULTS[:4])
    await asyncio.wait_for(drained, 5)


async def test_an_answer_and_a_wake_are_progress(waiting: Waiting) -> None:
    ways: tuple[Callable[[], None], ...] = (
        waiting.frames.wake,
        lambda: waiting.frames.refuse(waiting.block_of(waiting.register(1)), REFUSAL),
        lambda: waiting.frames.complete(waiting.block_of(waiting.register(1)), 1, 0, RESULTS[:4]),
    )
    for make_progress in ways:
        progress = asyncio.create_task(waiting.frames.progress())
        await asyncio.sleep(0)
        assert not progress.done()
        make_progress()
        await asyncio.wait_for(progress, 5)


async def test_sampled_submitters_are_found_while_their_frames_wait(waiting: Waiting) -> None:
    sampled, plain, gone = waiting.register(1, "00-a-b-01"), waiting.register(2), waiting.register(3, "00-c-d-01")
    waiting.frames.unregister(gone)
    assert waiting.frames.traceparents(waiting.block_of(sampled, plain, gone)) == ["00-a-b-01"]
