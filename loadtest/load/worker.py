"""Worker process of a load: generates frames, submits them through one client, and returns the outcome of each.

Closed loop: a fixed number of frames in flight; each answer lets the next frame go. Open loop: every transaction has a
due time, whatever the node does, and a frame leaves when its last transaction is due. Latency counts from the due time,
so a stall of the node shows in all transactions that fell due meanwhile (no coordinated omission).
"""

import asyncio
import itertools
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Final

import numpy as np
import numpy.typing as npt
import uvloop

from loadtest.load.frame_outcomes import ACCEPTED, FRAME_OUTCOME, OK, REFUSED, UNKNOWN, FrameOutcomes, results_digest
from loadtest.load.frame_source import FrameSource, U8Array, U64Array
from loadtest.load.interruption import SIGNALS
from loadtest.load.workload import Workload
from loadtest.node.child_process import end_with_parent
from penstock.client.async_client import AsyncClient
from penstock.client.errors import ClientClosed, OutcomeUnknown, PenstockError
from penstock.client.options import FlowOptions, RetryOptions
from services.runtime.malloc_tuning import keep_large_messages_in_the_heap

PROGRESS_INTERVAL_S: Final = 0.1
ANSWER_DEADLINE_S: Final = 20.0
LAST_ANSWERS_S: Final = 3.0
"""How long a load that is ended early waits for answers."""
_WAITING_FRAMES_MAX: Final = 4096

Buffers = tuple[U64Array, U8Array]


@dataclass(frozen=True, slots=True)
class Assignment:
    """One worker's part of a load. ``rate`` is in transactions per second, 0 for a closed loop."""

    target: str
    workload: Workload
    client_id: int
    rate: float
    in_flight: int


@dataclass(slots=True)
class WorkerResult:
    """The outcomes of one client's frames. ``loop_share`` is the share of the time that its event loop was busy."""

    client_id: int
    frames: FrameOutcomes
    codes: npt.NDArray[np.int64]
    loop_share: float = 0.0
    cpu_s: float = 0.0
    first_error: str = ""


def flow_options(in_flight: int, frame: int) -> FlowOptions:
    """The client's flow control for so many frames of this size in flight."""
    return FlowOptions(frames_max=max(in_flight, 1), transactions_max=in_flight * frame)


@dataclass(slots=True)
class Recorder:
    """Submits frames and records their outcomes."""

    client: AsyncClient
    rows: list[tuple[int, ...]] = field(default_factory=list)
    codes: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    committed: int = 0
    first_error: str = ""
    end_ns: int = 0
    """When no more frames are sent; the coordinator may bring it forward."""
    closing: "asyncio.Task[None] | None" = None
    """Closes the client, where it did."""

    async def submit(self, frame: int, records: U64Array, payloads: U8Array, first_due: int, last_due: int) -> bool:
        """Submit one frame; returns whether a receipt came. ``first_due`` and ``last_due`` of 0 mean now."""
        count = len(records)
        sent = time.monotonic_ns()
        due = (first_due or sent, last_due or sent)
        try:
            receipt = await self.client.submit_frame(records, payloads.data, stamp=False)
        except ClientClosed:  # the load was ended early, before this one was sent
            return False
        except PenstockError as error:
            self.first_error = self.first_error or f"{type(error).__name__}: {error}"
            outcome = UNKNOWN if isinstance(error, OutcomeUnknown) else REFUSED
            self.rows.append((frame, count, outcome, *due, sent, time.monotonic_ns(), 0, 0, 0, 0))
            return False
        received = time.monotonic_ns()
        results = receipt.results
        succeeded = int(np.count_nonzero(results == OK))
        if succeeded == count:
            self.codes[OK] += count
        else:
            self.codes += np.bincount(results, minlength=256)
        self.committed += succeeded
        place = (receipt.log_index, receipt.first_position, results_digest(results), succeeded)
        self.rows.append((frame, count, ACCEPTED, *due, sent, received, *place))
        return True

    def result(self, client_id: int) -> WorkerResult:
        """All that was recorded."""
        return WorkerResult(client_id, np.array(self.rows, FRAME_OUTCOME), self.codes, first_error=self.first_error)


def work(assignment: Assignment, coordinator: Connection, coordinator_pid: int) -> None:
    """Main function of the process.

    Messages: sends ("ready", None), receives (start_ns, end_ns), sends ("progress", committed) ten times a second, and
    at the end ("result", WorkerResult). A second message of the coordinator, whatever it is, ends the load early.
    """
    end_with_parent(coordinator_pid)
    # A terminal sends signals to the whole process group, but the coordinator ends its workers itself.
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    keep_large_messages_in_the_heap()
    uvloop.run(_work(assignment, coordinator))


async def _work(assignment: Assignment, coordinator: Connection) -> None:
    workload = assignment.workload
    flow = flow_options(assignment.in_flight, workload.frame)
    retry = RetryOptions(deadline_s=ANSWER_DEADLINE_S)
    source = FrameSource(workload, assignment.client_id)
    async with AsyncClient(
        assignment.target, client_id=assignment.client_id, next_sequence=1, flow=flow, retry=retry
    ) as client:
        recorder = Recorder(client)
        coordinator.send(("ready", None))
        start_ns, end_ns = await asyncio.to_thread(coordinator.recv)
        loop_s, cpu_s = time.thread_time(), time.process_time()
        recorder.end_ns = end_ns
        await asyncio.sleep((start_ns - time.monotonic_ns()) / 1e9)
        reporting = asyncio.create_task(_report_progress(recorder, coordinator))
        if assignment.rate:
            await _open_loop(recorder, source, assignment.rate, start_ns)
        else:
            numbers = itertools.count()
            await asyncio.gather(*(_closed_loop(recorder, source, numbers) for _ in range(assignment.in_flight)))
        reporting.cancel()
        if recorder.closing is not None:
            await recorder.closing
        result = recorder.result(assignment.client_id)
        result.loop_share = (time.thread_time() - loop_s) / max((time.monotonic_ns() - start_ns) / 1e9, 1e-9)
        result.cpu_s = time.process_time() - cpu_s
        coordinator.send(("result", result))


async def _closed_loop(recorder: Recorder, source: FrameSource, numbers: Iterator[int]) -> None:
    """One of the frames in flight: send a frame, wait for its answer, send the next."""
    records, payloads = source.buffers()
    while time.monotonic_ns() < recorder.end_ns:
        number = next(numbers)
        payload_bytes = source.fill(number, records, payloads)
        if not await recorder.submit(number, records, payloads[:payload_bytes], 0, 0):
            await asyncio.sleep(0.01)  # nothing comes of pressing a node that refuses


async def _open_loop(recorder: Recorder, source: FrameSource, rate: float, start_ns: int) -> None:
    """Send each frame when its last transaction is due."""
    count = source.workload.frame
    free: list[Buffers] = []
    waiting: set[asyncio.Task[None]] = set()

    async def send(number: int, buffers: Buffers) -> None:
        records, payloads = buffers
        payload_bytes = source.fill(number, records, payloads)
        first_due = start_ns + int(number * count * 1e9 / rate)
        last_due = start_ns + int((number + 1) * count * 1e9 / rate)
        await recorder.submit(number, records, payloads[:payload_bytes], first_due, last_due)
        free.append(buffers)

    number = 0
    while (due_ns := start_ns + int((number + 1) * count * 1e9 / rate)) < recorder.end_ns:
        if (early_ns := due_ns - time.monotonic_ns()) > 0:
            await asyncio.sleep(early_ns / 1e9)
            continue
        if len(waiting) >= _WAITING_FRAMES_MAX:  # bounds memory; the due times go on
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        task = asyncio.create_task(send(number, free.pop() if free else source.buffers()))
        waiting.add(task)
        task.add_done_callback(waiting.discard)
        number += 1
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)


async def _report_progress(recorder: Recorder, coordinator: Connection) -> None:
    while True:
        await asyncio.sleep(PROGRESS_INTERVAL_S)
        coordinator.send(("progress", recorder.committed))
        if recorder.closing is None and coordinator.poll():
            # Send no more, and wait for the answers to what was sent for a few seconds alone.
            recorder.end_ns = time.monotonic_ns()
            recorder.closing = asyncio.create_task(recorder.client.close(timeout=LAST_ANSWERS_S))
