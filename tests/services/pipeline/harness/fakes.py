"""Stand-ins for what the stages stand between: a ring, a log, a state, a pool, the stage behind."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from penstock.contract import result_code
from pooling.buffers import Buffer, aligned_buffer
from pooling.core.errors import PoolExhausted
from replication.log.ballot import Ballot
from replication.log.block import HEADER_BYTES, NO_HASH, Block
from replication.log.errors import LogBusy, LogFull
from services.pipeline.channel import ChannelClosed
from services.pipeline.pending_frames import PendingFrames
from services.pipeline.results_file import ResultsFile
from services.pipeline.sealed_block import SealedBlock
from services.refusal import Refusal
from services.telemetry.counters import Counter, Counters
from statestore.state_machine import StateMachine
from tests.frames import rows
from txqueue.queue import Batch

CLUSTER_ID = 1
EPOCH = 1
BUFFER_BYTES = 8192
RECORDS = 3
"""Of each frame and of each block that is made here."""
IDLE_WAITS_MAX = 1000


class FakePool:
    """A pool of a few buffers, which knows to whom it has lent what."""

    def __init__(self, buffers: int = 8) -> None:
        self._idle = [aligned_buffer(BUFFER_BYTES) for _ in range(buffers)]
        self._lent: dict[int, Buffer] = {}
        self.on_exhausted: Callable[[], None] = lambda: None

    @property
    def lent(self) -> int:
        return len(self._lent)

    def borrow_object(self, timeout_s: float | None = None) -> Buffer:
        if not self._idle:
            self.on_exhausted()
            raise PoolExhausted
        buffer = self._idle.pop()
        self._lent[id(buffer)] = buffer
        return buffer

    def return_object(self, item: Buffer) -> None:
        assert self._lent.pop(id(item), None) is item, "returned once, by whom it was lent to"
        self._idle.append(item)


class FakeLoop:
    """An event loop's one method that the pipeline calls; runs at once."""

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: object) -> None:
        callback(*args)


class Submitters:
    """Frames that wait for receipts, and what they got."""

    def __init__(self, counters: Counters) -> None:
        self.pending_frames = PendingFrames(cast("asyncio.AbstractEventLoop", FakeLoop()), counters)
        self.answers: dict[int, bytes | Refusal] = {}

    def register(self, frame_id: int) -> int:
        return self.pending_frames.register(frame_id, self._deliver, "", RECORDS, 0)

    def _deliver(self, frame_id: int, answer: bytes | Refusal) -> None:
        assert frame_id not in self.answers, "a frame is answered once"
        self.answers[frame_id] = answer


class FakeQueue:
    """The ring; a batch is one frame."""

    def __init__(self) -> None:
        self._frames: deque[int] = deque()
        self.wakes = 0
        self._idle_waits = 0
        self.on_dequeue: Callable[[], None] = lambda: None
        self.on_idle: Callable[[], None] = lambda: None

    def publish(self, token: int) -> None:
        self._frames.append(token)

    def __len__(self) -> int:
        return len(self._frames)

    def wait(self, timeout_s: float) -> bool:
        if not self._frames:
            self.on_idle()
        self._idle_waits += not self._frames
        assert self._idle_waits < IDLE_WAITS_MAX, "the sequencer goes on waiting after its end"
        return bool(self._frames)

    def wake(self) -> None:
        self.wakes += 1

    def dequeue_exclusive_batch(self, body: NDArray[np.uint8], frames: NDArray[np.uint64]) -> Batch:
        self.on_dequeue()
        if not self._frames:
            return Batch(0, 0, 0)
        records = np.frombuffer(rows(RECORDS).tobytes(), np.uint8)
        body[: records.size] = records
        frames[0] = self._frames.popleft(), 0, RECORDS, 0
        return Batch(RECORDS, 0, 1)

    def rebalance_if_needed(self) -> int:
        return RECORDS


class FakeLog:
    """A log that keeps the headers of what it was given."""

    def __init__(self) -> None:
        self.log_id = 77
        self.last_index = 0
        self.last_position = 0
        self.last_hash = NO_HASH
        self.last_time_ns = 0
        self.durable_index = 0
        self.appends: list[list[int]] = []
        self.full = self.busy = False
        self.on_reserve: Callable[[], None] = lambda: None
        self.on_append: Callable[[], None] = lambda: None
        self.on_sync: Callable[[], None] = lambda: None

    def reserve(self, byte_count: int) -> None:
        self.on_reserve()
        if self.full:
            raise LogFull(cast("Any", "log"), byte_count, "no space")
        if self.busy:
            raise LogBusy(cast("Any", "log"), "no descriptors")

    def append(self, blocks: Sequence[Block]) -> None:
        self.on_append()
        for block in blocks:
            assert (block.index - 1, block.previous_hash) == (self.last_index, self.last_hash)
            self.last_index, self.last_position, self.last_hash = block.index, block.next_position, block.hash
        self.appends.append([block.index for block in blocks])

    def sync(self) -> int:
        self.on_sync()
        self.durable_index = self.last_index
        return self.durable_index


class FakeIntake:
    """The stage behind the one under test: holds what it gets."""

    def __init__(self) -> None:
        self.blocks: list[SealedBlock] = []
        self.closed = False
        self.stops = 0
        self.on_submit: Callable[[], None] = lambda: None

    @property
    def indexes(self) -> list[int]:
        return [sealed.block.index for sealed in self.blocks]

    def submit(self, sealed: SealedBlock) -> None:
        self.on_submit()
        if self.closed:
            raise ChannelClosed
        self.blocks.append(sealed)

    def stop(self) -> None:
        self.closed = True
        self.stops += 1


class FakeState:
    """A state in which every transaction has the same result, by default success."""

    def __init__(self) -> None:
        self.applied_index = 0
        self.entries = self.sessions = self.table_bytes = self.session_bytes = 0
        self.on_apply: Callable[[], None] = lambda: None
        self.result = result_code.OK

    def apply(
        self,
        body: NDArray[np.uint8],
        count: int,
        payload_bytes: int,
        first_position: int,
        time_ns: int,
        index: int,
        results: NDArray[np.uint8],
    ) -> None:
        self.on_apply()
        results[:] = self.result
        self.applied_index = index

    def as_state_machine(self) -> StateMachine:
        return cast("StateMachine", self)


class FakeResults:
    """Results by their first position."""

    def __init__(self) -> None:
        self.written: dict[int, bytes] = {}
        self.on_write: Callable[[], None] = lambda: None
        self.reserved: list[tuple[int, int]] = []
        self.full = False

    def reserve(self, first_position: int, count: int) -> None:
        if self.full:
            raise LogFull(cast("Any", "results"), count, "no space")
        self.reserved.append((first_position, count))

    def write(self, first_position: int, results: bytes) -> None:
        self.on_write()
        self.written[first_position] = results

    def as_results_file(self) -> ResultsFile:
        return cast("ResultsFile", self)


class BlockMaker:
    """Makes sealed blocks, each behind the one before, as a sequencer would; each of one frame that waits."""

    def __init__(self, pool: FakePool, counters: Counters, submitters: Submitters | None = None) -> None:
        self._pool = pool
        self._counters = counters
        self._submitters = submitters or Submitters(counters)
        self._last: Block | None = None

    def next(self) -> SealedBlock:
        buffer = self._pool.borrow_object()
        records = np.frombuffer(rows(RECORDS).tobytes(), np.uint8)
        buffer[HEADER_BYTES : HEADER_BYTES + records.size] = records
        last = self._last
        self._last = Block.seal(
            buffer,
            cluster_id=CLUSTER_ID,
            ballot=Ballot(EPOCH, 0),
            index=last.index + 1 if last else 1,
            first_position=last.next_position if last else 0,
            count=RECORDS,
            payload_bytes=0,
            time_ns=1,
            previous_hash=last.hash if last else NO_HASH,
            durable_index=0,
        )
        self._counters.put(Counter.SEALED_INDEX, self._last.index)
        frames = np.array([[self._submitters.register(self._last.index), 0, RECORDS, 0]], np.uint64)
        return SealedBlock(self._last, buffer, self._pool, frames, sealed_ns=1)
