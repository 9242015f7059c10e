"""Coordinator of a load: starts the worker processes together, follows their progress, and gathers their results."""

import multiprocessing
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import Any, Final

from loadtest.load.frame_source import FrameSource
from loadtest.load.worker import ANSWER_DEADLINE_S, Assignment, WorkerResult, work
from loadtest.load.workload import Workload, WorkloadError
from loadtest.verify.verify_log import Evidence

SESSION_TRANSACTIONS_MAX: Final = 131_072
"""With more in flight, a client could not send the first of them again: its session would have forgotten them."""
_START_DELAY_S: Final = 0.2
_READY_DEADLINE_S: Final = 120.0
_LOOK_EVERY_S: Final = 0.5


class WorkerFailed(Exception):
    """A worker process ended without a result; its own message is on standard error."""


class LoadEndedEarly(Exception):
    """A load was ended before anything was sent, so there is nothing to report."""


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """A load to run on one node.

    ``rate`` is offered transactions per second over all workers (open loop), or 0 for a closed loop with ``in_flight``
    frames in flight per worker. An open loop collects transactions into a frame for up to ``linger_ms``.
    """

    target: str
    workload: Workload
    rate: float = 0.0
    in_flight: int = 7
    workers: int = 1
    seconds: float = 10.0
    warmup_s: float = 1.0
    linger_ms: float = 1.0

    def __post_init__(self) -> None:
        if min(self.in_flight, self.workers) < 1 or self.seconds <= 0 or min(self.warmup_s, self.rate) < 0:
            raise WorkloadError("--in-flight, --workers and --seconds must be above 0, --warmup and --rate not below")
        if not self.rate and self.in_flight * self.workload.frame > SESSION_TRANSACTIONS_MAX:
            raise WorkloadError(
                f"--in-flight {self.in_flight} of --frame {self.workload.frame} is more than the "
                f"{SESSION_TRANSACTIONS_MAX} transactions that a client's session remembers: use more --workers instead"
            )

    def assignments(self) -> list[Assignment]:
        """Each worker's part. Client ids are random: the same ids again would only be answered as duplicates."""
        workload, in_flight, rate = self.workload, self.in_flight, self.rate / self.workers
        if rate:
            workload = replace(workload, frame=min(workload.frame, max(1, round(rate * self.linger_ms / 1000))))
            in_flight = SESSION_TRANSACTIONS_MAX // 2 // workload.frame
        return [
            Assignment(self.target, workload, secrets.randbits(63) | 1, rate, in_flight) for _ in range(self.workers)
        ]


@dataclass(frozen=True, slots=True)
class LoadRun:
    """A plan's results. The window is the measured time without the warm-up, on CLOCK_MONOTONIC."""

    plan: LoadPlan
    assignments: list[Assignment]
    results: list[WorkerResult]
    window_start_ns: int
    window_end_ns: int
    """Earlier than planned where the load was ended early."""

    def evidence(self) -> list[Evidence]:
        """The frames that were sent and their outcomes, for :func:`loadtest.verify.verify_log.verify_log`."""
        return [
            Evidence(FrameSource(assignment.workload, assignment.client_id), result.frames)
            for assignment, result in zip(self.assignments, self.results, strict=True)
        ]


def run_load(
    plan: LoadPlan,
    on_progress: Callable[[int, float], None] = lambda _committed, _elapsed_s: None,
    ended_early: Callable[[], object] = lambda: False,
) -> LoadRun:
    """Run a plan to its end, or until ``ended_early`` is true: it is asked about twice a second.

    ``on_progress`` gets transactions committed so far, and seconds since the start.

    Workers are spawned, not forked: gRPC does not survive a fork.

    Raises:
        LoadEndedEarly: it was ended before anything was sent.
        WorkerFailed: a worker ended without its result, or did not end in time.
    """
    context = multiprocessing.get_context("spawn")
    assignments = plan.assignments()
    connections: list[Connection] = []
    processes = []
    try:
        for assignment in assignments:
            ours, theirs = context.Pipe()
            process = context.Process(
                target=work, args=(assignment, theirs, os.getpid()), name="penstock load worker", daemon=True
            )
            process.start()
            theirs.close()
            connections.append(ours)
            processes.append(process)
        for connection in connections:
            _await_ready(connection, ended_early)
        start_ns = time.monotonic_ns() + int(_START_DELAY_S * 1e9)
        window_start_ns = start_ns + int(plan.warmup_s * 1e9)
        end_ns = window_start_ns + int(plan.seconds * 1e9)
        for connection in connections:
            connection.send((start_ns, end_ns))
        results, end_ns = _follow(connections, start_ns, end_ns, on_progress, ended_early)
    finally:
        for process in processes:
            if process.exitcode is None:
                process.join(1.0)
                process.kill()
    # Without a measured time it is the time before that: something was done.
    return LoadRun(plan, assignments, results, window_start_ns if end_ns > window_start_ns else start_ns, end_ns)


def _await_ready(connection: Connection, ended_early: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + _READY_DEADLINE_S
    while not connection.poll(_LOOK_EVERY_S):
        if ended_early():
            raise LoadEndedEarly("it was ended before it began: nothing was sent")
        if time.monotonic() > deadline_s:
            raise WorkerFailed(f"a worker was not ready after {_READY_DEADLINE_S:g} s")
    _receive(connection, "ready")


def _follow(
    connections: list[Connection],
    start_ns: int,
    end_ns: int,
    on_progress: Callable[[int, float], None],
    ended_early: Callable[[], object],
) -> tuple[list[WorkerResult], int]:
    """The workers' results, and when they stopped sending."""
    committed = dict.fromkeys(connections, 0)
    results: dict[Connection, WorkerResult] = {}
    deadline_ns = end_ns + int((2 * ANSWER_DEADLINE_S) * 1e9)
    while len(results) < len(connections):
        if time.monotonic_ns() > deadline_ns:
            raise WorkerFailed("a worker did not end in time")
        if time.monotonic_ns() < end_ns and ended_early():
            end_ns = max(time.monotonic_ns(), start_ns + 1)
            for each in connections:
                each.send("end")
        for connection in wait([c for c in connections if c not in results], timeout=_LOOK_EVERY_S):
            assert isinstance(connection, Connection)
            kind, content = _receive(connection)
            if kind == "progress":
                committed[connection] = content
            else:
                results[connection] = content
        on_progress(sum(committed.values()), (time.monotonic_ns() - start_ns) / 1e9)
    return [results[connection] for connection in connections], end_ns


def _receive(connection: Connection, expected: str | None = None) -> tuple[str, Any]:
    try:
        kind, content = connection.recv()
    except EOFError:
        raise WorkerFailed("a worker ended early; its own message is above") from None
    assert expected in (None, kind)
    return kind, content
