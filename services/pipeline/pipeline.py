"""The pipeline: sequencer, log writer, commit gate and applier connected, started, stopped and failed as one.

While block k+1 is being sealed, k is being made durable and k-1 applied. What moves between the stages are pooled
buffers; their number is what bounds every queue in between, and when they run out the ring fills and pushes back.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Final, TypeVar

from penstock.host.executor import THREADS, Executor
from services.pipeline.applier import Applier, StateQuery
from services.pipeline.commit_gate import DRAIN_S_MAX, CommitGate
from services.pipeline.log_writer import LogWriter
from services.pipeline.sequencer import Sequencer
from services.pipeline.stage import Stage
from services.pipeline.threaded_stage import OnFailure, ThreadedStage
from statestore.state_machine import StateMachine

Answer = TypeVar("Answer")


class Pipeline:
    """Runs the stages, which were connected when they were made."""

    def __init__(
        self,
        sequencer: Sequencer,
        log_writer: LogWriter,
        commit_gate: CommitGate,
        applier: Applier,
        on_failure: OnFailure,
        executor: Executor = THREADS,
    ) -> None:
        """Run these stages; ``on_failure`` is called once, by the thread of the first stage that fails."""
        self._stages: Final[tuple[Stage, ...]] = (sequencer, log_writer, commit_gate, applier)
        self._commit_gate = commit_gate
        self._applier = applier
        self._on_failure = on_failure
        self._executor = executor
        self._failed = threading.Lock()

    def start(self) -> None:
        """Start the stages.

        Raises:
            RuntimeError: a thread could not be started; `stop` ends those that were.
        """
        for stage in self._stages:
            if isinstance(stage, ThreadedStage):
                stage.start(self._executor, partial(self._stage_failed, stage))

    def stop(self, commit_wait_s: float = DRAIN_S_MAX) -> None:
        """Bring all that was published to the ring through all stages, then end; blocks until then.

        Nothing may be published any more. Blocks that are not committed ``commit_wait_s`` seconds after the last one
        became durable stay in the log without being applied or answered.
        """
        self._commit_gate.bound_drain(commit_wait_s)
        self._stages[0].stop()
        for stage in self._stages:
            stage.drain()

    def query(self, ask: Callable[[StateMachine], Answer]) -> "Future[Answer]":
        """Ask something of the state between two blocks; never blocks.

        Raises:
            ChannelClosed: the pipeline has ended, also from the future that is returned.
        """
        query = StateQuery(ask)
        self._applier.submit(query)
        return query.answer

    def _stage_failed(self, failed: Stage, error: BaseException) -> None:
        """Fail the stages before the failed one, too: nobody takes what they make. Only the first is reported."""
        if self._failed.acquire(blocking=False):
            self._on_failure(error)
        for stage in self._stages[: self._stages.index(failed)]:
            stage.fail(error)
