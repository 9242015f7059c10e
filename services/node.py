"""A node: everything between its sockets and its disk, put together. The path of a transaction starts here.

services.rpc.txqueue_service              frame from gRPC
services.admission.admission              validated, into the ring (txqueue)
services.pipeline.sequencer               sealed block (replication.log.block) in a pooled buffer (pooling)
services.pipeline.log_writer              durable in the log (replication.log.write_ahead_log)
services.pipeline.applier                 state and results (statestore.state_machine)
services.pipeline.pending_frames          receipt, back to the frame's sender
"""

import asyncio
import logging
import os
import signal
import time
from typing import Final

from penstock.contract.reasons import Reason
from penstock.v1 import node_pb2
from replication.log.errors import LogFailed
from replication.log.write_ahead_log import WriteAheadLog
from services.admission.admission import Admission
from services.admission.frame_validator import FrameValidator
from services.admission.namespaces import NamespaceSet
from services.admission.state_capacity import StateCapacity
from services.pipeline.applier import Applier
from services.pipeline.log_writer import LogWriter
from services.pipeline.pending_frames import PendingFrames
from services.pipeline.pipeline import Pipeline
from services.pipeline.results_file import ResultsFile
from services.pipeline.sequencer import Sequencer
from services.refusal import Refusal
from services.release import running_version
from services.rpc.buffer_leases import BufferLeases
from services.rpc.node_service import NodeService
from services.rpc.pool_service import PoolService
from services.rpc.server import NodeServer
from services.rpc.state_service import StateService
from services.rpc.txqueue_service import TxQueueService
from services.runtime import malloc_tuning as memory
from services.runtime.debug_monitor import attached
from services.runtime.maintenance import Maintenance
from services.runtime.node_pools import NodePools
from services.runtime.warmup import load_kernels
from services.settings.model import NodeSettings
from services.telemetry import telemetry
from services.telemetry.counters import Counter, Counters
from services.telemetry.throughput import PhaseThroughput
from statestore.state_machine import StateMachine
from txqueue.queue import LockFreeTxQueue

_EPOCH: Final = 1
"""Of a node without a coordinator: nobody else can have written its log."""
_REPLICAS: Final = 1

EXIT_OK: Final = 0
EXIT_FAILED: Final = 74
"""EX_IOERR of sysexits.h: the log or the state cannot go on; the message says why."""

_log = logging.getLogger("penstock.node")


class Node:
    """One node in one process: `start`, then `stop`. All methods belong to one event loop."""

    def __init__(self, settings: NodeSettings) -> None:
        """Prepare a node; nothing is opened yet."""
        self._settings = settings
        self._counters = Counters()
        self._throughput = PhaseThroughput(self._counters)
        self._condition = "starting"
        self._started_ns = time.time_ns()
        self.failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        """Set when a stage fails, after which the node can only be stopped."""

    async def start(self) -> list[str]:
        """Open the log, replay it, and serve; returns the addresses listened on.

        Raises:
            LogError: the log is in use, foreign, corrupted, of a newer version, or cannot be written.
            ListenError: an address is taken.
            TelemetryError: an endpoint is taken.
        """
        settings = self._settings
        self._pending_frames = PendingFrames(asyncio.get_running_loop(), self._counters)
        self._telemetry = telemetry.start(settings, self._counters, self._throughput)
        await asyncio.to_thread(self._open)
        self._serve_from_pipeline()
        bound = await self._server.start()
        self._pipeline.start()
        self._maintenance.start()
        await self._server.set_serving()
        self._condition = "serving"
        return bound

    async def stop(self) -> None:
        """Answer what was accepted, then close everything."""
        self._condition = "stopping"
        refusal = Refusal(Reason.SHUTTING_DOWN)
        self._txqueue_service.close(refusal)
        self._state_service.close(refusal)
        stopped = asyncio.create_task(self._server.stop(self._settings.shutdown.grace_s))
        await self._pending_frames.drained()  # also by a failure, which refuses all that wait
        await asyncio.to_thread(self._pipeline.stop)
        try:
            await asyncio.to_thread(self._log.close)
        except LogFailed as error:
            self._fail(error)
        await stopped
        await self._maintenance.stop()
        self._leases.close()
        await asyncio.to_thread(self._telemetry.close)
        self._queue.close()
        self._results_file.close()
        self._pools.close()

    def _open(self) -> None:
        """Build the stages around the log and replay it; in a thread, since it may take seconds."""
        settings = self._settings
        load_kernels()
        self._state = StateMachine(
            bytes_max=settings.state.bytes_max,
            session_capacity=settings.state.session_capacity,
            session_horizon_ns=settings.state.session_horizon_s * 1_000_000_000,
        )
        self._pools = NodePools(settings.pooling)
        self._results_file = ResultsFile(settings.node.data_dir / "results")
        self._applier = Applier(
            self._state, self._results_file, self._pools.blocks, self._pending_frames, self._counters, self._telemetry
        )
        started = time.monotonic()
        self._log = WriteAheadLog.open(
            settings.node.data_dir / "log",
            settings.node.cluster_id,
            segment_bytes=settings.log.segment_bytes,
            sync_mode=settings.log.sync_mode,
            interval_ms=settings.log.sync_interval_ms,
            parameters={
                "state.session_capacity": settings.state.session_capacity,
                "state.session_horizon_s": settings.state.session_horizon_s,
            },
        )
        self._log.replay(self._applier.replay)
        if self._log.last_index:
            _log.info(
                "replayed %d transactions in %d blocks in %.2f s",
                self._log.last_position,
                self._log.last_index,
                time.monotonic() - started,
            )
        self._queue = LockFreeTxQueue.create(
            None,
            slots=settings.queue.slots,
            buffer_bytes=settings.queue.producer_buffer_bytes,
            wait=settings.queue.wait,
        )
        self._telemetry.watch_queue(self._queue.get_queue_metrics)
        memory.settle_after_start()

    def _serve_from_pipeline(self) -> None:
        settings = self._settings
        log_writer = LogWriter(self._log, self._counters, self._applier.channel)
        sequencer = Sequencer(
            self._queue,
            self._pools.blocks,
            self._log,
            self._pending_frames,
            self._counters,
            log_writer.channel,
            cluster_id=settings.node.cluster_id,
            epoch=_EPOCH,
        )
        loop = asyncio.get_running_loop()

        def on_failure(error: BaseException) -> None:
            loop.call_soon_threadsafe(self._fail, error)

        self._pipeline = Pipeline(sequencer, log_writer, self._applier, on_failure)
        namespaces = NamespaceSet(settings.admission.allowed_namespaces())
        admission = Admission(
            FrameValidator(self._queue.register(), namespaces),
            StateCapacity(self._state, self._pending_frames),
            self._pending_frames,
            self._counters,
            self._queue.wake,
            in_flight_frames_max=settings.admission.in_flight_frames_max,
        )
        self._txqueue_service = TxQueueService(
            admission, self._pending_frames, self._counters, settings.admission, self._pools.transactions
        )
        self._state_service = StateService(
            self._pipeline.query, self._log, self._results_file, self._pending_frames, self._counters, namespaces
        )
        self._maintenance = Maintenance(self._pools.manager, self._counters, settings.pooling)
        self._leases = BufferLeases(self._pools.messages)
        pool_service = PoolService(self._pools, self._leases, self._maintenance.gc_scheduler)
        node_service = NodeService(self._describe)
        self._server = NodeServer(
            settings.listen.addresses,
            [
                self._txqueue_service.handler(),
                self._state_service.handler(),
                pool_service.handler(),
                node_service.handler(),
            ],
        )

    def _fail(self, error: BaseException) -> None:
        """Take a stage's failure: whether what is under way is in the log is unknown from here on."""
        _log.critical("the node stops: %s", error, exc_info=error)
        self._condition = f"failed: {error}"
        refusal = Refusal(Reason.NODE_FAILED)
        self._txqueue_service.close(refusal)
        self._pending_frames.refuse_all(refusal)
        if not self.failure.done():
            self.failure.set_result(error)

    async def _describe(self, with_state_digest: bool) -> node_pb2.GetStatusResponse:
        """Describe the node as of one log index.

        Raises:
            ChannelClosed: the pipeline has ended.
        """
        asked = self._pipeline.query(
            lambda state: (
                state.applied_index,
                state.applied_position,
                state.effects_digest,
                state.state_digest() if with_state_digest else 0,
            )
        )
        applied_index, applied, effects, digest = await asyncio.wrap_future(asked)
        resident, mapped = await asyncio.to_thread(memory.resident_bytes)
        return node_pb2.GetStatusResponse(
            version=running_version(),
            cluster_id=self._settings.node.cluster_id,
            epoch=_EPOCH,
            condition=self._condition,
            durability=self._settings.log.sync_mode,
            replicas=_REPLICAS,
            sealed_index=max(self._counters[Counter.SEALED_INDEX], applied_index),
            durable_index=max(self._log.durable_index, applied_index),
            applied_index=applied_index,
            applied_transactions=applied,
            effects_digest=effects,
            state_digest=digest,
            phases=[
                node_pb2.PhaseStatus(
                    name=pace.name,
                    achieved_tps=pace.achieved_tps,
                    target_tps=pace.target_tps,
                    transactions=pace.transactions,
                )
                for pace in self._throughput.read()
            ],
            started_unix_nano=self._started_ns,
            resident_bytes=resident,
            mapped_bytes=mapped,
        )


async def run(settings: NodeSettings) -> int:
    """Run a node until SIGINT or SIGTERM, or until it fails; returns the process's exit code."""
    memory.keep_large_messages_in_the_heap()
    loop = asyncio.get_running_loop()
    told_to_stop = asyncio.Event()
    node = Node(settings)
    with attached(settings.monitor, node=node):
        addresses = await node.start()
        for number in (signal.SIGINT, signal.SIGTERM):  # until here they end the process, which has promised nothing
            loop.add_signal_handler(number, told_to_stop.set)
        _log.info("%s (process %d) serves at %s", settings.node.name, os.getpid(), ", ".join(addresses))
        stop = asyncio.create_task(told_to_stop.wait())
        await asyncio.wait((stop, node.failure), return_when=asyncio.FIRST_COMPLETED)
        _log.info("stopping: what was accepted is answered first")
        await node.stop()
    return EXIT_FAILED if node.failure.done() else EXIT_OK
