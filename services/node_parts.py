"""The parts of a node: a factory for each thing that it opens, the real ones by default.

Tests, benchmarks and simulations give other factories; the node itself is the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from penstock.host.clock import SYSTEM_CLOCK, Clock
from penstock.host.executor import THREADS, Executor
from pooling.manager import ObjectPoolManager
from replication.log.directory.log_metadata import read_metadata
from replication.log.errors import LogTooOld
from replication.log.write_ahead_log import WriteAheadLog
from services.pipeline.results_file import ResultsFile
from services.rpc.handlers import ServiceHandler
from services.rpc.limits.arriving_messages import ArrivingMessages
from services.rpc.serving.server import NodeServer
from services.runtime import malloc_tuning, warmup
from services.runtime.maintenance import Maintenance
from services.runtime.node_pools import NodePools
from services.settings.memory_settings import PoolingSettings, QueueSettings
from services.settings.model import NodeSettings
from services.telemetry.counters import Counters
from services.telemetry.start import start_telemetry
from services.telemetry.telemetry import Telemetry
from services.telemetry.throughput import PhaseThroughput
from statestore.session_bounds import SessionBounds
from statestore.state_machine import StateMachine
from txqueue.queue import LockFreeTxQueue


def create_queue(settings: QueueSettings) -> LockFreeTxQueue:
    """Create the ring, in memory that this process alone has."""
    return LockFreeTxQueue.create(
        None, slots=settings.slots, buffer_bytes=settings.producer_buffer_bytes, wait=settings.wait
    )


def create_state(settings: NodeSettings) -> StateMachine:
    """Create the empty state that the log is replayed into, with the bounds on sessions that the log began with.

    Raises:
        LogError: the log's metadata cannot be read, or it was begun by a version that gave other answers.
        StateFull: there is no address space for what the log's sessions may take.
    """
    bounds = settings.state.session_bounds()
    directory = settings.node.data_dir / "log"
    found = read_metadata(directory)
    if found is not None and found.parameters:
        try:
            bounds = SessionBounds(*(found.parameters[name] for name in _parameters(bounds)))
        except KeyError as missing:
            raise LogTooOld(directory, missing.args[0]) from None
    return StateMachine(bytes_max=settings.state.bytes_max, session_bounds=bounds)


def _parameters(bounds: SessionBounds) -> dict[str, int]:
    """Give the bounds on sessions as a log's metadata keep them."""
    return {
        "session.capacity": bounds.capacity,
        "session.horizon_ns": bounds.horizon_ns,
        "session.page_capacity": bounds.page_capacity,
    }


def open_log(settings: NodeSettings, clock: Clock, executor: Executor) -> WriteAheadLog:
    """Open the node's log, or create it; what it does in the background goes by ``clock`` and runs on ``executor``.

    Raises:
        LogError: the log is in use, foreign, corrupted, of a newer version, or cannot be written.
    """
    return WriteAheadLog.open(
        settings.node.data_dir / "log",
        settings.node.cluster_id,
        segment_bytes=settings.log.segment_bytes,
        sync_mode=settings.log.sync_mode,
        interval_ms=settings.log.sync_interval_ms,
        parameters=_parameters(settings.state.session_bounds()),
        clock=clock,
        executor=executor,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeParts:
    """What a node is made with. Whatever a factory returns, the node closes."""

    clock: Clock = SYSTEM_CLOCK
    executor: Executor = THREADS
    """Runs the stages of the pipeline, and the log's work in the background."""
    load_kernels: Callable[[], None] = warmup.load_kernels
    pools: Callable[[PoolingSettings], NodePools] = NodePools
    queue: Callable[[QueueSettings], LockFreeTxQueue] = create_queue
    telemetry: Callable[[NodeSettings, Counters, PhaseThroughput], Telemetry] = start_telemetry
    state: Callable[[NodeSettings], StateMachine] = create_state
    results_file: Callable[[Path, Clock], ResultsFile] = ResultsFile
    maintenance: Callable[[ObjectPoolManager, Counters, PoolingSettings], Maintenance] = Maintenance
    log: Callable[[NodeSettings, Clock, Executor], WriteAheadLog] = open_log
    settle: Callable[[], None] = malloc_tuning.settle_after_start
    server: Callable[
        [Sequence[str], Sequence[ServiceHandler], ArrivingMessages, Callable[[Exception], None]], NodeServer
    ] = NodeServer
