"""The composition root of a node: everything between its sockets and its disk, put together here and nowhere else.

The path of a transaction, a file for each step:

services.rpc.txqueue_service              frame from gRPC
services.admission.admission              validated, into the ring (txqueue)
services.pipeline.sequencer               sealed block (replication.log.block) in a pooled buffer (pooling)
services.pipeline.log_writer              durable in the log (replication.log.write_ahead_log)
services.pipeline.commit_gate             committed: it stays in the log whatever fails
services.pipeline.applier                 state and results (statestore.state_machine)
services.pipeline.pending_frames          receipt, back to the frame's sender
"""

import asyncio
import gc
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Final

from penstock.contract.reasons import Reason
from replication.log.ballot import Ballot
from replication.log.errors import LogFailed
from services.admission.admission import Admission
from services.admission.frame_validator import FrameValidator
from services.admission.namespaces import NamespaceSet
from services.admission.session_bounds import put_into_force
from services.admission.state_capacity import StateCapacity
from services.node_health import NodeHealth
from services.node_parts import NodeParts
from services.pipeline.applier import Applier
from services.pipeline.block_clock import BlockClock
from services.pipeline.commit_gate import CommitGate
from services.pipeline.log_writer import LogWriter
from services.pipeline.pending_frames import PendingFrames
from services.pipeline.pipeline import Pipeline
from services.pipeline.sequencer import Sequencer
from services.refusal import Refusal
from services.rpc.buffer_leases import BufferLeases
from services.rpc.limits.arriving_messages import ArrivingMessages
from services.rpc.limits.memory_guard import MemoryGuard
from services.rpc.node_service import NodeService
from services.rpc.pool_service import PoolService
from services.rpc.serving.status_server import StatusServer
from services.rpc.state_service import StateService
from services.rpc.txqueue_service import TxQueueService
from services.runtime.condition_probe import ConditionProbe
from services.runtime.patient_thread import in_thread
from services.settings.model import NodeSettings
from services.telemetry.conditions import Conditions
from services.telemetry.counters import Counters
from services.telemetry.throughput import PhaseThroughput

_BALLOT: Final = Ballot(1, 0)
"""Of a node without a coordinator: nobody else can have written its log."""

ANSWERS_S_MIN: Final = 1.0
"""What answers get at least, however short the grace: they take milliseconds where nothing hangs."""
_UNANSWERED: Final = (
    "the node stops before its disk has answered: whether the frame is in the log is unknown; send the same ids again "
    "later"
)

_log = logging.getLogger("penstock.node")


class Node:
    """One node in one process: `start`, then `stop`. All methods belong to one event loop."""

    def __init__(
        self,
        settings: NodeSettings,
        parts: NodeParts = NodeParts(),  # noqa: B008 - immutable
        on_closing: Callable[[], object] = lambda: None,
    ) -> None:
        """Prepare a node out of these parts; nothing is opened yet.

        ``on_closing`` is called before anything is closed, which takes as long as a disk takes that hangs.
        """
        self._settings = settings
        self._parts = parts
        self._counters = Counters()
        self._throughput = PhaseThroughput(self._counters, parts.clock)
        self._on_closing = on_closing
        self._conditions = Conditions(parts.clock)
        self._health = NodeHealth(self._conditions)
        self._opened = AsyncExitStack()
        self._server_stopped: asyncio.Task[None] | None = None
        self._stop_by_s = 0.0
        self.failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        """Set when a stage or the server fails, after which the node can only be stopped."""

    async def start(self) -> list[str]:
        """Open the log, replay it, and serve; returns the addresses listened on. Where it fails, nothing stays open.

        Raises:
            LogError: the log is in use, foreign, corrupted, of a newer version, or cannot be written.
            ListenError: an address is taken.
            TelemetryError: an endpoint is taken.
            BoundsNotTaken: the log, whose disk hangs, does not take a change of the bounds on sessions.
            ClockAhead: the machine's clock is far ahead of the log's last block.
            StateStoreError: the log holds more than the state's tables do.
        """
        try:
            return await self._start(self._opened)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Answer what was accepted, then close everything, in the reverse order of its opening."""
        self._on_closing()
        await self._opened.aclose()

    async def _start(self, opened: AsyncExitStack) -> list[str]:
        self._pending_frames = PendingFrames(asyncio.get_running_loop(), self._counters)
        await in_thread(self._open, opened)
        self._connect_stages(opened)
        self._offer_services()
        self._pipeline.start()
        opened.push_async_callback(self._status_server.stop)
        opened.push_async_callback(self._answer_what_was_accepted)
        self._probe.start()
        await put_into_force(
            self._settings.state.session_bounds(),
            self._state,
            self._producer,
            self._pending_frames,
            self._counters,
            self._probe.hanging,
        )
        addresses = await self._server.start()
        status_at = self._status_server.start()
        if status_at:
            _log.info("health and status are told at %s besides", ", ".join(status_at))
        self._maintenance.start()
        self._memory_guard.start()
        opened.push_async_callback(self._memory_guard.stop)
        self._health.phase = "serving"
        opened.callback(self._health.stop)
        self._health.start(self._server.set_serving)
        return addresses

    def _open(self, opened: AsyncExitStack) -> None:
        """Open what is below the services, and replay the log; in a thread, since it may take seconds."""
        settings, parts, counters = self._settings, self._parts, self._counters
        self._pools = parts.pools(settings.pooling)
        opened.callback(self._pools.close)
        self._queue = parts.queue(settings.queue)
        opened.callback(self._queue.close)
        self._producer = self._queue.register()
        opened.callback(self._producer.close)
        self._telemetry = parts.telemetry(settings, counters, self._throughput)
        opened.push_async_callback(asyncio.to_thread, self._telemetry.close)
        self._telemetry.watch_queue(self._queue.get_queue_metrics)
        self._telemetry.watch_conditions(self._conditions)
        self._state = parts.state(settings)
        opened.callback(self._state.close)
        self._results_file = parts.results_file(settings.node.data_dir / "results", parts.clock)
        opened.callback(self._results_file.close)
        self._maintenance = parts.maintenance(self._pools.manager, counters, settings.pooling)
        opened.push_async_callback(self._maintenance.stop)
        self._leases = BufferLeases(self._pools.messages)
        opened.callback(self._leases.close)
        opened.push_async_callback(self._cut_calls)
        self._applier = Applier(
            self._state,
            self._results_file,
            self._pending_frames,
            counters,
            self._telemetry,
            self._conditions,
            parts.clock,
        )
        parts.load_kernels()
        started_ns = parts.clock.monotonic_ns()
        self._log = parts.log(settings, parts.clock, parts.executor)
        opened.push_async_callback(self._close_log)
        self._log.replay(self._applier.replay, to_index=self._log.commit_index)
        if self._log.last_index:
            _log.info(
                "replayed %d transactions in %d blocks in %.2f s",
                self._log.last_position,
                self._log.last_index,
                (parts.clock.monotonic_ns() - started_ns) / 1e9,
            )
        opened.callback(gc.unfreeze)
        parts.settle()

    def _connect_stages(self, opened: AsyncExitStack) -> None:
        """Connect the stages of the pipeline, from the last to the first."""
        parts, counters, log = self._parts, self._counters, self._log
        self._capacity = StateCapacity(self._state, self._pending_frames)
        commit_gate = CommitGate(self._applier, counters, log.last_index, parts.clock)
        # What is durable on the only node is committed.
        log_writer = LogWriter(log, counters, commit_gate, commit_gate.advance, parts.clock)
        block_clock = BlockClock(
            parts.clock,
            log.last_time_ns,
            self._settings.node.clock_jump_max_s * 1_000_000_000,
            accept=self._settings.node.clock == "accept",
        )
        sequencer = Sequencer(
            self._queue,
            self._pools.blocks,
            log,
            self._results_file,
            self._pending_frames,
            counters,
            log_writer,
            cluster_id=self._settings.node.cluster_id,
            ballot=_BALLOT,
            block_clock=block_clock,
            clock=parts.clock,
            conditions=self._conditions,
        )
        self._probe = ConditionProbe(
            self._conditions,
            disk_waits={
                "setting room aside in the log": sequencer.disk_wait,
                "writing to the log": log_writer.disk_wait,
                "syncing in the background": log.background_wait,
                "writing results": self._applier.disk_wait,
            },
            capacity=self._capacity,
            block_clock=block_clock,
            results_file=self._results_file,
            executor=parts.executor,
            lost_addresses=lambda: self._server.lost_addresses() + self._status_server.lost_addresses(),
        )
        opened.push_async_callback(self._probe.stop)
        loop = asyncio.get_running_loop()

        def on_failure(error: BaseException) -> None:
            loop.call_soon_threadsafe(self._fail, error)

        log.on_failure(on_failure)
        self._pipeline = Pipeline(sequencer, log_writer, commit_gate, self._applier, on_failure, parts.executor)
        opened.push_async_callback(self._stop_pipeline)

    def _offer_services(self) -> None:
        """Build what clients call."""
        settings, counters = self._settings, self._counters
        namespaces = NamespaceSet(settings.admission.allowed_namespaces())
        admission = Admission(
            FrameValidator(self._producer, namespaces),
            self._capacity,
            self._pending_frames,
            counters,
            self._queue.wake,
            in_flight_frames_max=settings.admission.in_flight_frames_max,
            conditions=self._conditions,
        )
        arriving = ArrivingMessages()
        self._txqueue_service = TxQueueService(
            admission, self._pending_frames, counters, settings.admission, self._pools.transactions, arriving
        )
        self._state_service = StateService(
            self._pipeline.query,
            self._log,
            self._results_file,
            self._pending_frames,
            counters,
            namespaces,
            self._conditions,
            settings.admission,
        )
        pool_service = PoolService(self._pools, self._leases, self._maintenance.gc_scheduler)
        node_service = NodeService(
            settings,
            self._pipeline.query,
            counters,
            self._throughput,
            self._health.describe,
            self._conditions,
            epoch=_BALLOT.epoch,
            started_ns=self._parts.clock.time_ns(),
        )
        services = (self._txqueue_service, self._state_service, pool_service, node_service)
        offered = [service.handler() for service in services]
        self._server = self._parts.server(settings.listen.addresses, offered, arriving, self._fail)
        self._status_server = StatusServer(
            settings.listen.status_at(), self._server.health.status_of, node_service.describe
        )
        self._memory_guard = MemoryGuard(arriving, self._conditions, counters, settings.admission.call_bytes_max)

    async def _answer_what_was_accepted(self) -> None:
        """Accept nothing more, and wait for the answers of what was accepted; a failure gives them at once."""
        self._health.phase = "stopping"
        refusal = Refusal(Reason.SHUTTING_DOWN)
        self._txqueue_service.close(refusal)
        self._state_service.close(refusal)
        # Beside the rest: a client that stays takes the whole grace, for which the log must not stay open.
        self._server_stopped = asyncio.create_task(self._server.stop(self._settings.shutdown.grace_s))
        wait_s = max(self._settings.shutdown.grace_s, ANSWERS_S_MIN)
        self._stop_by_s = asyncio.get_running_loop().time() + wait_s
        try:
            async with asyncio.timeout(wait_s):
                await self._pending_frames.drained()
        except TimeoutError:
            self._pending_frames.refuse_all(Refusal(Reason.NODE_FAILED, _UNANSWERED))

    async def _stop_pipeline(self) -> None:
        """Stop the stages, whose last blocks may wait for their commit for what is left of the grace."""
        left_s = max(0.0, self._stop_by_s - asyncio.get_running_loop().time())
        await asyncio.to_thread(self._pipeline.stop, left_s)

    async def _close_log(self) -> None:
        try:
            await asyncio.to_thread(self._log.close)
        except LogFailed as error:
            self._fail(error)

    async def _cut_calls(self) -> None:
        """Wait until the last call has ended or been cut."""
        if self._server_stopped is not None:
            await self._server_stopped

    def _fail(self, error: BaseException) -> None:
        """Take a failure, of a stage, the log or the server: whether what is under way is in the log is unknown now."""
        if self.failure.done():
            _log.error("while the node stops: %s", error, exc_info=error)
            return
        _log.critical("the node stops: %s", error, exc_info=error)
        self._health.phase = f"failed: {error}"
        refusal = Refusal(Reason.NODE_FAILED)
        self._txqueue_service.close(refusal)
        self._pending_frames.refuse_all(refusal)
        self.failure.set_result(error)
